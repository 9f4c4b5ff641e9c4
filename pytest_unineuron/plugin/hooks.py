"""The pytest plugin: hooks and fixtures, each a few lines that call something named. Imports nothing heavy."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from pytest_unineuron import options
from pytest_unineuron.errors import NotApplicable, TrialError, UnineuronError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    import numpy as np
    from numpy.typing import NDArray

    from pytest_unineuron.evidence.case import Case
    from pytest_unineuron.evidence.recorder import Recorder
    from pytest_unineuron.lab import Arm, Lab
    from pytest_unineuron.lab.neurons import Neurons
    from pytest_unineuron.lab.universality import Matched, Universality
    from pytest_unineuron.lab.weights import Weights
    from pytest_unineuron.lab.words import WordResponses
    from pytest_unineuron.plugin.run import Session

MARKERS = {
    "gt1": "does the finding hold in a new model?",
    "gt2": "does it hold on new data?",
    "gt3": "does the method tell signal from null on another component?",
}


VERIFIED = "unineuron_verified"
"""The fixture of a test that is no trial, but is run for every model under test."""


def session_of(config: pytest.Config) -> Session:
    """This process's session, made when a trial, an option or a worker first needs it."""
    from pytest_unineuron.plugin.finish import Finisher
    from pytest_unineuron.plugin.run import KEY, Session

    if KEY not in config.stash:
        session = config.stash[KEY] = Session(config, options.read(config.getoption, config.getini))
        config.pluginmanager.register(Finisher(session), "unineuron-finisher")
    return config.stash[KEY]


def _is_trial(node: Any) -> bool:
    return any(node.get_closest_marker(name) for name in MARKERS)


# -- start and collection ------------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the ``--unineuron-…`` options."""
    options.register(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers, and look at what was asked for if anything was."""
    for name, question in MARKERS.items():
        words = "source, trial=<function>, primary=False, controls=<default>, claim=<docstring>"
        config.addinivalue_line("markers", f"{name}({words}): a trial: {question}")
    try:
        settings = options.read(config.getoption, config.getini)
        if settings != options.defaults() and not hasattr(config, "workerinput"):
            session_of(config).validate()
            if config.getoption("cacheclear", False):
                session_of(config).clear_cache()
    except UnineuronError as error:
        raise pytest.UsageError(str(error)) from None


def pytest_report_header(config: pytest.Config) -> str | None:
    """A baseline that cannot be used is told of before hours are spent, and not only after them."""
    return session_of(config).unusable_baseline or None if config.getoption("unineuron_baseline") else None


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give every marked function its models, corpora and control arms, and a check of models all of them."""
    if _is_trial(metafunc.definition):
        session_of(metafunc.config).planner.assign(metafunc)
    elif VERIFIED in metafunc.fixturenames:
        session_of(metafunc.config).planner.each_model(metafunc, VERIFIED)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Note on each item what it measures, before anybody deselects it."""
    if any(map(_is_trial, items)):
        session = session_of(config)
        session.planner.prepare(items)
        if session.settings.write_lock and (left_out := session.planner.controls_only(items)):
            config.hook.pytest_deselected(items=left_out)


def pytest_deselected(items: list[pytest.Item]) -> None:
    """What is deselected was planned all the same."""
    if any(map(_is_trial, items)):
        session_of(items[0].config).planner.deselected(items)


@pytest.hookimpl(tryfirst=True)  # before the terminal asks for the forecast
def pytest_collection_finish(session: pytest.Session) -> None:
    """The plan is complete."""
    if any(map(_is_trial, session.items)):
        session_of(session.config).planner.finished(session.items)


def pytest_report_collectionfinish(config: pytest.Config, items: list[pytest.Item]) -> list[str]:
    """What is about to be fetched and compared, before it is."""
    if not any(map(_is_trial, items)):
        return []
    from pytest_unineuron.plugin.forecast import forecast

    return list(forecast(session_of(config), items))


# -- running -------------------------------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """A fresh recorder for every attempt at a trial."""
    if _is_trial(item):
        session_of(item.config).runner.begin(item)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(request: pytest.FixtureRequest) -> Generator[None, Any, Any]:
    """What is raised on purpose while a fixture is made is a sentence, not a traceback."""
    try:
        return (yield)
    except UnineuronError as error:
        raised = error
    # Outside of the handler: pytest would show what was being handled as a second error.
    if isinstance(raised, NotApplicable):
        pytest.skip(str(raised))
    pytest.fail(str(raised), pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Run a trial's body, then judge all it measured, so that every miss is reported at once."""
    if not _is_trial(item):
        return (yield)
    runner, raised = session_of(item.config).runner, None
    with runner.recording(item):
        try:
            yield
        except Exception as error:
            raised = error
    return runner.conclude(item, raised)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """The body of a trial that an earlier attempt measured is not run again."""
    return True if _is_trial(pyfuncitem) and session_of(pyfuncitem.config).runner.takes_over(pyfuncitem) else None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put what was found on the report."""
    report = yield
    if _is_trial(item):
        session_of(item.config).runner.attach(item, report, call)
    return report


def pytest_report_teststatus(report: pytest.TestReport, config: pytest.Config) -> Any:
    """With ``-v``, say what a passed item means; letters and counts stay pytest's."""
    envelope = getattr(report, "unineuron", None)
    if envelope and envelope["word"] and report.when == "call" and report.passed:
        return "passed", ".", (envelope["word"], {"yellow": True})
    return None


# -- workers -------------------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> Generator[None, int, int]:
    """``-n auto``: in a run of trials, no more workers than there are models, or than fit into memory."""
    most = yield
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return most
    from pytest_unineuron.plugin.scheduling import workers

    try:
        return workers(config, options.read(config.getoption, config.getini), most)
    except UnineuronError:
        return most  # the start of the run says what is wrong


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker which attempts may be resumed; they are looked for once, here."""
    node.workerinput["unineuron"] = list(map(str, session_of(node.config).left_open))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """One model per worker where xdist would spread items freely; other modes are the user's choice."""
    session = session_of(config)  # the controller needs one before the first result arrives
    if config.getoption("dist") != "load":
        return None
    from pytest_unineuron.plugin.scheduling import ModelScheduling

    try:
        return ModelScheduling(config, log, session.models, session.settings)
    except UnineuronError:
        return None  # if there are trials, their collection says so


# -- fixtures ------------------------------------------------------------------------------------------------


@pytest.fixture
def unineuron_verified(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Every identity that was checked when a model was loaded: at how many layers, and its largest error."""
    return session_of(request.config).lab.verified(request.param)


@pytest.fixture
def unineuron_case(request: pytest.FixtureRequest) -> Case:
    """Where this item measures: model, corpus, control, draw."""
    if not hasattr(request, "param"):
        raise TrialError(f"{request.node.name} asks for unineuron fixtures and is no trial; mark it gt1, gt2 or gt3")
    case: Case = request.param.case
    return case


@pytest.fixture
def unineuron_measure(unineuron_case: Case, request: pytest.FixtureRequest) -> Recorder:
    """Records numbers, ``measure("share", x, above=0.01)``, and minima, ``measure.needs("tokens", n, at_least=9)``."""
    return session_of(request.config).runner.recorder(request.node)


@pytest.fixture(scope="session")
def unineuron_lab(request: pytest.FixtureRequest) -> Lab:
    """Models, corpora and sweeps of this run, each made once."""
    return session_of(request.config).lab


@pytest.fixture
def unineuron_arm(unineuron_case: Case, unineuron_lab: Lab) -> Arm:
    """The version of the model this item measures: the subject itself or a control."""
    from pytest_unineuron.lab import Arm

    return Arm(unineuron_case.model, unineuron_case.control, unineuron_case.draw)


@pytest.fixture
def unineuron_corpus(unineuron_case: Case) -> str:
    """The label of the corpus this item measures on. Asking for it makes one item per corpus."""
    return unineuron_case.corpus


@pytest.fixture
def unineuron_sweeps(unineuron_lab: Lab, unineuron_arm: Arm) -> Callable[[str], Neurons]:
    """From a corpus label to the neurons on it. Asking for it says that the trial reads activations."""
    return lambda corpus: unineuron_lab.neurons(unineuron_arm, corpus)


@pytest.fixture
def unineuron_neurons(unineuron_sweeps: Callable[[str], Neurons], unineuron_corpus: str) -> Neurons:
    """Every MLP neuron of the arm, on the item's corpus."""
    return unineuron_sweeps(unineuron_corpus)


@pytest.fixture
def unineuron_reference_neurons(unineuron_sweeps: Callable[[str], Neurons], request: pytest.FixtureRequest) -> Neurons:
    """The same neurons on the reference corpus."""
    return unineuron_sweeps(session_of(request.config).reference)


@pytest.fixture
def unineuron_comparisons(
    unineuron_sweeps: object, unineuron_lab: Lab, unineuron_arm: Arm
) -> Callable[[str], Universality]:
    """From a corpus label to the arm compared with further seeds on it. Asking for it adds the shift of documents."""
    return lambda corpus: unineuron_lab.universality(unineuron_arm, corpus)


@pytest.fixture
def unineuron_universality(unineuron_comparisons: Callable[[str], Universality], unineuron_corpus: str) -> Universality:
    """The arm compared with further seeds of the model, on the item's corpus."""
    return unineuron_comparisons(unineuron_corpus)


@pytest.fixture
def unineuron_reference_universality(
    unineuron_comparisons: Callable[[str], Universality], request: pytest.FixtureRequest
) -> Universality:
    """The same comparison on the reference corpus."""
    return unineuron_comparisons(session_of(request.config).reference)


@pytest.fixture
def unineuron_relabelled(unineuron_lab: Lab, unineuron_arm: Arm) -> NDArray[np.int64]:
    """Whose label every neuron gets, [neuron]. Asking for it adds the control that permutes labels."""
    return unineuron_lab.relabelled(unineuron_arm)


@pytest.fixture
def unineuron_labelled(
    unineuron_reference_universality: Universality, unineuron_relabelled: NDArray[np.int64]
) -> Matched:
    """The neurons as they are matched on the reference corpus, to label others by: ``labelled.universal``."""
    return unineuron_reference_universality.neurons.permuted(unineuron_relabelled)


@pytest.fixture
def unineuron_published(
    unineuron_case: Case, unineuron_relabelled: NDArray[np.int64], unineuron_lab: Lab, request: pytest.FixtureRequest
) -> NDArray[np.bool_]:
    """Which neurons of the model the paper published as universal, [neuron]."""
    import numpy as np

    from pytest_unineuron.models.published import universal

    table = session_of(request.config).published(unineuron_case.model)
    if table is None:
        raise NotApplicable(f"no universal neurons of {unineuron_case.model} were published")
    sites = unineuron_lab.anatomy(unineuron_case.model).plan.sites
    labels = np.zeros(len(unineuron_relabelled), dtype=bool)
    labels[universal(table, [(site.layer, site.width) for site in sites])] = True
    return labels[unineuron_relabelled]


@pytest.fixture
def unineuron_number_words(unineuron_sweeps: object, unineuron_lab: Lab, unineuron_arm: Arm) -> WordResponses:
    """How the neurons of the arm answer to words for numbers, and to words like them."""
    return unineuron_lab.number_words(unineuron_arm)


@pytest.fixture
def unineuron_weights(unineuron_lab: Lab, unineuron_arm: Arm) -> Weights:
    """What the weights of the arm say, without any text."""
    return unineuron_lab.weights(unineuron_arm)
