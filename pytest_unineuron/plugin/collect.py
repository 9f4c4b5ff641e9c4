"""``python -m pytest_unineuron.collect evals/ …``: gather what trials are going to read, in many processes, ahead.

Takes the arguments of the pytest run that is to follow, collects its items, and instead of running them makes every
statistic they will ask for. ``torchrun --nproc-per-node=N -m pytest_unineuron.collect …`` deals the documents out to
N processes, on several machines if it is started on each. The results are in the cache in which pytest looks.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from pytest_unineuron.corpora import number_words
from pytest_unineuron.distributed.single_process import SINGLE_PROCESS, ProcessGroup
from pytest_unineuron.errors import NotApplicable, RankLost, UnineuronError
from pytest_unineuron.models.loading.place import SPREAD
from pytest_unineuron.plugin.collection import COMPARES, PLANNED, SWEEPS
from pytest_unineuron.plugin.run import PROCESSES
from pytest_unineuron.statistics import POST, PRE, UP

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_unineuron.lab import Arm, Lab
    from pytest_unineuron.plugin.run import Session

REFERENCE = "unineuron_reference_neurons"
NEW = "unineuron_neurons"
WORDS = "unineuron_number_words"
"""The fixtures that say on which corpus a trial reads its neurons; one that asks for sweeps as such may read any."""
FAILED = 1


@dataclass(frozen=True)
class Need:
    """One result that a trial is going to ask for: the neurons of an arm on a corpus, or its comparison with seeds."""

    arm: Arm
    corpus: str
    compared: bool

    def __str__(self) -> str:
        name = self.arm.model + (f"~{self.arm.control}.{self.arm.draw}" if self.arm.control else "")
        return f"{name} on {self.corpus}{' with its seeds' if self.compared else ''}"

    def meet(self, lab: Lab) -> None:
        """Make it, unless it is there."""
        if self.compared:
            lab.universality(self.arm, self.corpus)
            return
        gated = any(site.gated for site in lab.anatomy(self.arm.model).plan.sites)
        for site in (POST,) if self.corpus == number_words.NAME else (PRE, POST, *[UP] * gated):
            lab.swept(self.arm, self.corpus, site)


def needs(session: Session, items: Iterable[pytest.Item]) -> list[Need]:
    """What the items of a run are going to ask for, each once: arms of models by corpus, as far as fixtures tell."""
    from pytest_unineuron.lab import Arm

    found: dict[Need, None] = {}
    for item in items:
        if (planned := item.stash.get(PLANNED, None)) is None:
            continue
        case, fixtures = planned.case, getattr(item, "fixturenames", ())
        arm = Arm(case.model, case.control, case.draw).read
        found |= dict.fromkeys(Need(arm, corpus, compared=False) for corpus in _swept(session, case.corpus, fixtures))
        if COMPARES in fixtures:
            compared = session.planner.compared_on(case, fixtures)
            found |= dict.fromkeys(Need(arm, corpus, compared=True) for corpus in sorted(compared))
    return list(found)


def _swept(session: Session, corpus: str, fixtures: Sequence[str]) -> Iterator[str]:
    """The corpora on which an item reads neurons."""
    if SWEEPS not in fixtures:
        return
    told = {NEW: corpus, REFERENCE: session.reference, WORDS: number_words.NAME}
    named = [where for fixture, where in told.items() if fixture in fixtures]
    if named or COMPARES in fixtures:
        yield from named
    else:
        yield from [corpus] if corpus else [session.reference, *session.new_data]


class Collecting:
    """The plugin that makes what items need in place of running them. ``status`` is what the process ends with."""

    def __init__(self, processes: ProcessGroup) -> None:
        self._processes = processes
        self.status = 0

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Let the session know that it shares its passes."""
        if getattr(config.option, "numprocesses", None):
            raise pytest.UsageError("collect shares its work among processes of torchrun; leave out -n")
        config.stash[PROCESSES] = self._processes

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Everything that was collected is needed, one thing after the other; what cannot be made is told."""
        from pytest_unineuron.plugin.hooks import session_of

        if session.testsfailed or session.config.option.collectonly:
            return None
        ours = session_of(session.config)
        wanted = needs(ours, session.items)
        if not wanted:
            raise pytest.UsageError("no trial that was collected reads activations; there is nothing to gather")
        if ours.cache_folder is None:
            raise pytest.UsageError("there is no cache to fill; name a folder with --unineuron-cache, without a lock")
        if self._processes.count > 1 and ours.settings.device in SPREAD:
            raise pytest.UsageError(
                f"--unineuron-device={ours.settings.device}: each of several processes would take "
                "all GPUs; start one, or leave this out"
            )
        for number, need in enumerate(wanted, start=1):
            began, before = time.monotonic(), len(ours.lab.events)
            outcome = self._made(need, ours.lab)
            new = ours.lab.events[before:]
            if outcome is None:
                passes, took = sum(event["kind"] == "pass" for event in new), time.monotonic() - began
                outcome = f"{passes} forward pass{'es' * (passes != 1)} in {took:.1f} s" if passes else "was there"
            told = [event["text"] for event in new if event["kind"] == "told"]
            print("; ".join([f"[{number}/{len(wanted)}] {need}: {outcome}", *told]), flush=True)
        if ours.lab.lost:
            self.status = FAILED
            print(f"{ours.lab.lost} results could not be kept; pytest makes them again.", flush=True)
        print(f"In {ours.cache_folder}; pytest with the same arguments reads it.", flush=True)
        return True

    def _made(self, need: Need, lab: Lab) -> str | None:
        """Make one thing; what was wrong, if anything was."""
        try:
            with self._processes.task():
                need.meet(lab)
        except NotApplicable as error:
            return f"not applicable: {error}"
        except RankLost as error:
            pytest.exit(str(error), returncode=FAILED)
        except UnineuronError as error:
            self.status = FAILED
            return f"FAILED: {error}"
        return None


def main(arguments: Sequence[str]) -> int:
    """Gather, and return the exit status: pytest's, or 1 if anything could not be made or a process is lost."""
    processes: Any = SINGLE_PROCESS
    try:
        if "RANK" in os.environ:
            from pytest_unineuron.distributed.process_group import TorchProcessGroup

            processes = TorchProcessGroup()
        if processes.index:
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - to the end of the process
        collecting = Collecting(processes)
        status = int(pytest.main(list(arguments), plugins=[collecting]))
        processes.leave("" if status == 0 else f"pytest ended with status {status}")
    except UnineuronError as error:
        print(error, file=sys.stderr, flush=True)
        return FAILED
    return status or collecting.status


def run() -> None:
    """Do what was typed, and end the process."""
    status = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(status)  # threads of a broken process group would wait for one that is lost
