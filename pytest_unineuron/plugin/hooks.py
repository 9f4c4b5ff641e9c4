"""The hooks of the plugin, which call the other modules. Importing this one imports nothing heavy."""

from __future__ import annotations

import os
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest

from pytest_unineuron.errors import NotApplicable, UnineuronError
from pytest_unineuron.evidence.criteria import CRITERIA
from pytest_unineuron.evidence.recorder import Inconclusive
from pytest_unineuron.options import settings as declared
from pytest_unineuron.options import sources
from pytest_unineuron.plugin import hookspecs
from pytest_unineuron.plugin.assignment import PLANNED
from pytest_unineuron.plugin.extensions import EXTENSIONS, Extensions
from pytest_unineuron.plugin.fixture_table import VERIFIED, broken_fixture

if TYPE_CHECKING:
    from collections.abc import Generator

    from pytest_unineuron.plugin.session import Session

pytest_plugins = ["pytest_unineuron.plugin.fixtures"]


def _get_session(config: pytest.Config) -> Session:
    """Return the session of this process. Its module is imported when a trial, an option or a worker needs it."""
    from pytest_unineuron.plugin.start import session_of

    return session_of(config)


def _is_trial(node: Any) -> bool:
    return any(node.get_closest_marker(criterion.marker) for criterion in CRITERIA.values())


def _is_planned(item: pytest.Item) -> bool:
    """Whether an item is an arm of a trial; something else that is collected below a marker, as a doctest, is none."""
    return PLANNED in item.stash


# -- start and collection ------------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the ``--unineuron-…`` options."""
    sources.register(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Add the hooks of this plugin."""
    pluginmanager.add_hookspecs(hookspecs)


def pytest_load_initial_conftests(args: list[str]) -> None:
    """Check the names of the flags before pytest does."""
    try:
        sources.check_flags(args)
    except UnineuronError as error:
        raise pytest.UsageError(str(error)) from None


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers, look for extensions, and check the settings if any was given."""
    config.pluginmanager.register(Extensions(config), EXTENSIONS)
    for criterion in CRITERIA.values():
        arguments = "source, trial=<function>, primary=False, controls=<default>, claim=<docstring>"
        config.addinivalue_line("markers", f"{criterion.marker}({arguments}): a trial: {criterion.question}")
    try:
        # pytest itself only warns of an unknown key, and has no public way to list those that are given.
        given = vars(config).get("_inicfg") or vars(config).get("inicfg") or ()
        sources.check_names(given)
        settings = sources.read(config.getoption, config.getini)
        if settings != declared.Settings() and not hasattr(config, "workerinput"):
            _get_session(config).run.validate()
            _get_session(config).run.check_baseline()
            if config.getoption("cacheclear", False):
                _get_session(config).run.clear_cache()
    except UnineuronError as error:
        raise pytest.UsageError(str(error)) from None


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize trials over models, corpora and control arms, and checks of models over the models."""
    if _is_trial(metafunc.definition):
        _get_session(metafunc.config).collection.assign(metafunc)
    elif VERIFIED in metafunc.fixturenames:
        _get_session(metafunc.config).collection.assign_models(metafunc)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_pycollect_makeitem(collector: pytest.Collector) -> Generator[None, Any, Any]:
    """Note the items of every trial, before a node id or ``--lf`` leaves some of them out."""
    made = yield
    if isinstance(made, list) and (trials := [item for item in made if _is_trial(item)]):
        _get_session(collector.config).collection.note(trials)
    return made


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Note on each item what it measures, before other plugins deselect it."""
    if any(map(_is_trial, items)):
        session = _get_session(config)
        session.collection.prepare(items)
        if session.run.settings.write_lock and (left_out := session.collection.take_subjects(items)):
            config.hook.pytest_deselected(items=left_out)


@pytest.hookimpl(tryfirst=True)  # before the terminal asks for the forecast, and a worker tells what it collected
def pytest_collection_finish(session: pytest.Session) -> None:
    """Bring back the controls of the trials that will run, and make the plan of these."""
    if any(map(_is_trial, session.items)):
        _get_session(session.config).finish_collection(session.items)


def pytest_report_collectionfinish(config: pytest.Config, items: list[pytest.Item]) -> list[str]:
    """List the models that will be fetched and the seeds that will be compared."""
    if not any(map(_is_trial, items)):
        return []
    from pytest_unineuron.plugin.forecast import forecast
    from pytest_unineuron.reports.lines import wrapped

    session = _get_session(config)
    lines = list(forecast(session.run, items, session.collection.requests, session.collection.items.values()))
    if brought := session.collection.brought:
        lines.append(f"control arms that run along with the models that were selected: {brought}")
    width = config.get_terminal_writer().fullwidth
    return [found for line in lines for found, _ in wrapped(line.lstrip(), width, len(line) - len(line.lstrip()))]


# -- running -------------------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, Any, Any]:
    """Begin an attempt at a trial with a new recorder.

    What a fixture of a module or session raised is raised again for every later item, without another setup of it.
    """
    if _is_planned(item):
        _get_session(item.config).protocol.begin(item)
    elif _is_trial(item) and isinstance(item, pytest.Function):
        pytest.fail(
            f"{item.name}: a trial is a function or a method of a plain class, not of a TestCase", pytrace=False
        )
    try:
        return (yield)
    except (UnineuronError, Inconclusive) as error:
        raised = error
    raise _told(item, raised)


def _told(node: Any, raised: UnineuronError | Inconclusive) -> BaseException:
    """The exception by which pytest skips, or fails without a traceback, with the message of what a fixture raised."""
    if isinstance(raised, NotApplicable) and isinstance(node, pytest.Item) and _is_planned(node):
        _get_session(node.config).protocol.note_not_applicable(node, str(raised))
    if isinstance(raised, NotApplicable | Inconclusive):
        return pytest.skip.Exception(str(raised))
    return broken_fixture(str(raised))


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(request: pytest.FixtureRequest) -> Generator[None, Any, Any]:
    """Skip or fail with the message of an error of this package that a fixture raises, without a traceback."""
    try:
        return (yield)
    except (UnineuronError, Inconclusive) as error:
        raised = error
    # Inside of the handler, pytest would show the handled error as well.
    raise _told(request.node, raised)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Run the body of a trial, then judge everything that it measured, so that all misses are reported together."""
    if not _is_planned(item):
        return (yield)
    protocol = _get_session(item.config).protocol
    raised: BaseException | None = None
    with protocol.recording(item):
        try:
            yield
        except (Exception, pytest.fail.Exception) as error:
            raised = error
    return protocol.conclude(item, raised)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Attach the result of a trial to the report."""
    report = yield
    if _is_planned(item):
        _get_session(item.config).protocol.attach(item, report, call)
    return report


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Release what belongs to a model after the last of its items that run in a row."""
    if _is_planned(item) or VERIFIED in getattr(item, "fixturenames", ()):
        _get_session(item.config).finish_item(item, nextitem)


def pytest_report_teststatus(report: pytest.TestReport, config: pytest.Config) -> Any:
    """With ``-v``, show what it means that an item passed. Letters and counts stay pytest's."""
    envelope = getattr(report, "unineuron", None)
    if envelope and envelope["word"] and report.when == "call" and report.passed:
        return "passed", ".", (envelope["word"], {"yellow": True})
    return None


@pytest.hookimpl(wrapper=True, tryfirst=True)  # around pytest's own, which shows the errors
def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> Generator[None]:
    """Show an error that all arms of a case have in common once."""
    finisher = config.pluginmanager.get_plugin("unineuron-finisher")
    with finisher.one_report_per_error(terminalreporter.stats) if finisher else nullcontext():
        return (yield)


# -- workers -------------------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> Generator[None, int, int]:
    """Limit ``-n auto``, in a run of trials, to as many workers as there are models that fit into memory."""
    most = yield
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return most
    from pytest_unineuron.plugin.scheduling import worker_count

    try:
        return worker_count(config, sources.read(config.getoption, config.getini), most)
    except UnineuronError:
        return most  # pytest_configure reports the error


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Schedule each model on one worker in xdist's mode ``load``; other modes stay as the user chose them."""
    session = _get_session(config)  # the controller needs one before the first result arrives
    if config.getoption("dist") != "load":
        return None
    from pytest_unineuron.plugin.scheduling import ModelScheduling

    try:
        run = session.run
        texts = run.new_data if run.stores_results else ()
        return ModelScheduling(config, log, run.models, run.settings, texts)
    except UnineuronError:
        return None  # if there are trials, their collection reports the error
