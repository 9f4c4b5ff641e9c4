"""``python -m pytest_unineuron.collect evals/ …``: fill the cache with all results that a pytest run will read.

Takes the arguments of that run, collects its items, and computes the results that they will ask for instead of running
them. ``torchrun --nproc-per-node=N -m pytest_unineuron.collect …`` shares the documents among N processes, on several
machines if it is started on each.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from pytest_unineuron.distributed.single_process import SINGLE_PROCESS, ProcessGroup
from pytest_unineuron.errors import NotApplicable, RankLost, UnineuronError
from pytest_unineuron.models.loading.devices import SPREAD_MODES
from pytest_unineuron.plugin.session import PROCESSES
from pytest_unineuron.plugin.start import session_of
from pytest_unineuron.system import process

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_unineuron.lab.arm import Request
    from pytest_unineuron.lab.lab import Lab
    from pytest_unineuron.plugin.session import Session

FAILED = 1
"""The exit status if a result could not be computed, or a process is lost."""


class CacheFiller:
    """A pytest plugin that computes what items need instead of running them. ``status`` is the exit status so far."""

    def __init__(self, processes: ProcessGroup) -> None:
        self._processes = processes
        self.status = 0

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Pass the processes that share forward passes to the session."""
        if getattr(config.option, "numprocesses", None):
            raise pytest.UsageError("collect shares its work among processes of torchrun; leave out -n")
        config.stash[PROCESSES] = self._processes

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Compute every result that the collected items will ask for, one after the other."""
        if session.testsfailed or session.config.option.collectonly:
            return None
        state = session_of(session.config)
        requests = self._requests(state)
        for number, request in enumerate(requests, start=1):
            if number > 1:
                state.release(requests[number - 2].arm, request.arm)
            done = self._compute(request, state.lab)
            print(f"[{number}/{len(requests)}] {describe(request)}: {done}", flush=True)
        if state.lab.unsaved:
            self.status = FAILED
            print(f"{state.lab.unsaved} results could not be stored; pytest computes them again.", flush=True)
        print(f"Stored in {state.run.cache_folder}; run pytest with the same arguments to use it.", flush=True)
        return True

    def _requests(self, state: Session) -> list[Request]:
        """The requests of all items. Raises UsageError if there are none, or nothing can be stored."""
        requests = [request for request in state.collection.requests if not request.role]
        if not requests:
            raise pytest.UsageError("no trial that was collected reads activations; there is nothing to compute")
        if state.run.cache_folder is None:
            raise pytest.UsageError("there is no cache to fill; name a folder with --unineuron-cache, without a lock")
        device = state.run.settings.device
        if self._processes.count > 1 and device in SPREAD_MODES:
            raise pytest.UsageError(
                f"--unineuron-device={device}: each of several processes would take all GPUs; start one, or leave "
                "this out"
            )
        return requests

    def _compute(self, request: Request, lab: Lab) -> str:
        """Compute one result, and return what was done in words."""
        began, before = time.monotonic(), len(lab.events)
        failure = self._failure(request, lab)
        events = lab.events[before:]
        passes = sum(event["kind"] == "forward_pass" for event in events)
        done = f"{passes} forward pass{'es' * (passes != 1)} in {time.monotonic() - began:.1f} s"
        notes = [event["text"] for event in events if event["kind"] == "cache_note"]
        return "; ".join([failure or (done if passes else "in the cache"), *notes])

    def _failure(self, request: Request, lab: Lab) -> str:
        """Compute one result, and return the reason if it cannot be computed; else an empty text."""
        try:
            with self._processes.task():
                lab.fulfil(request)
        except NotApplicable as error:
            return f"not applicable: {error}"
        except RankLost as error:
            pytest.exit(str(error), returncode=FAILED)
        except UnineuronError as error:
            self.status = FAILED
            return f"FAILED: {error}"
        return ""


def describe(request: Request) -> str:
    """Return a request in words, such as ``neox-a~untrained on news with its seeds``."""
    details = "with its seeds" if request.compares_seeds else f"({', '.join(request.sites)})"
    return f"{request.arm} on {request.corpus} {details}"


def fill_cache(arguments: Sequence[str]) -> int:
    """Fill the cache. Returns the exit status: pytest's, or 1 if a result or a process was lost."""
    processes: Any = SINGLE_PROCESS
    try:
        if "RANK" in os.environ:
            process.configure()  # OpenMP reads its variables when the next line imports torch
            from pytest_unineuron.distributed.process_group import TorchProcessGroup

            processes = TorchProcessGroup()
        if processes.index:
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - open until the process ends
        filler = CacheFiller(processes)
        # As the main module this one is imported before pytest could rewrite what it marks, which can be an error.
        quiet = "ignore::pytest.PytestAssertRewriteWarning"
        status = int(pytest.main([*arguments, "-W", quiet], plugins=[filler]))
        processes.leave("" if status == 0 else f"pytest ended with status {status}")
    except UnineuronError as error:
        print(error, file=sys.stderr, flush=True)
        return FAILED
    return status or filler.status


def fill_cache_and_exit() -> None:
    """Fill the cache with the arguments of the command line, and end the process."""
    status = fill_cache(sys.argv[1:])
    sys.stdout.flush()
    os._exit(status)  # at a normal exit, threads of a broken process group would wait for the lost process
