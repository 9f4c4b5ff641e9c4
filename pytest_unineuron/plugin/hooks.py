"""The hooks of the plugin, each a few lines that call something named. Importing this imports nothing heavy."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from pytest_unineuron.errors import NotApplicable, UnineuronError
from pytest_unineuron.evidence.criteria import CRITERIA
from pytest_unineuron.options import settings as declared
from pytest_unineuron.options import sources

if TYPE_CHECKING:
    from collections.abc import Generator

    from pytest_unineuron.plugin.session import Session

pytest_plugins = ["pytest_unineuron.plugin.fixtures"]
VERIFIED = "unineuron_verified"


def session_of(config: pytest.Config) -> Session:
    """This process's session; importing its module waits until a trial, an option or a worker needs it."""
    from pytest_unineuron.plugin import session

    return session.session_of(config)


def _is_trial(node: Any) -> bool:
    return any(node.get_closest_marker(criterion.marker) for criterion in CRITERIA.values())


# -- start and collection ------------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the ``--unineuron-…`` options."""
    sources.register(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers, and look at what was asked for if anything was."""
    for criterion in CRITERIA.values():
        arguments = "source, trial=<function>, primary=False, controls=<default>, claim=<docstring>"
        config.addinivalue_line("markers", f"{criterion.marker}({arguments}): a trial: {criterion.question}")
    try:
        settings = sources.read(config.getoption, config.getini)
        if settings != declared.Settings() and not hasattr(config, "workerinput"):
            session_of(config).run.validate()
            if config.getoption("cacheclear", False):
                session_of(config).run.clear_cache()
    except UnineuronError as error:
        raise pytest.UsageError(str(error)) from None


def pytest_report_header(config: pytest.Config) -> str | None:
    """A baseline that cannot be used is told of before hours are spent, and not only after them."""
    return session_of(config).run.unusable_baseline or None if config.getoption("unineuron_baseline") else None


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give every marked function its models, corpora and control arms, and a check of models all of them."""
    if _is_trial(metafunc.definition):
        session_of(metafunc.config).collection.assign(metafunc)
    elif VERIFIED in metafunc.fixturenames:
        session_of(metafunc.config).collection.assign_models(metafunc)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Note on each item what it measures, before anybody deselects it."""
    if any(map(_is_trial, items)):
        session = session_of(config)
        session.collection.prepare(items)
        if session.run.settings.write_lock and (left_out := session.collection.take_subjects(items)):
            config.hook.pytest_deselected(items=left_out)


def pytest_deselected(items: list[pytest.Item]) -> None:
    """What is deselected was planned all the same."""
    if any(map(_is_trial, items)):
        session_of(items[0].config).collection.deselect(items)


@pytest.hookimpl(tryfirst=True)  # before the terminal asks for the forecast
def pytest_collection_finish(session: pytest.Session) -> None:
    """The plan is complete."""
    if any(map(_is_trial, session.items)):
        session_of(session.config).finish_collection(session.items)


def pytest_report_collectionfinish(config: pytest.Config, items: list[pytest.Item]) -> list[str]:
    """What is about to be fetched and compared, before it is."""
    if not any(map(_is_trial, items)):
        return []
    from pytest_unineuron.plugin.forecast import forecast

    session = session_of(config)
    return list(forecast(session.run, items, session.collection.requests))


# -- running -------------------------------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """A fresh recorder for every attempt at a trial."""
    if _is_trial(item):
        session_of(item.config).protocol.begin(item)


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
    protocol, raised = session_of(item.config).protocol, None
    with protocol.recording(item):
        try:
            yield
        except Exception as error:
            raised = error
    return protocol.conclude(item, raised)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put what was found on the report."""
    report = yield
    if _is_trial(item):
        session_of(item.config).protocol.attach(item, report, call)
    return report


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Let go of a model after the last of its items that run in a row."""
    if _is_trial(item) or VERIFIED in getattr(item, "fixturenames", ()):
        session_of(item.config).finish_item(item, nextitem)


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
        return workers(config, sources.read(config.getoption, config.getini), most)
    except UnineuronError:
        return most  # the start of the run says what is wrong


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """One model per worker where xdist would spread items freely; other modes are the user's choice."""
    session = session_of(config)  # the controller needs one before the first result arrives
    if config.getoption("dist") != "load":
        return None
    from pytest_unineuron.plugin.scheduling import ModelScheduling

    try:
        return ModelScheduling(config, log, session.run.models, session.run.settings)
    except UnineuronError:
        return None  # if there are trials, their collection says so
