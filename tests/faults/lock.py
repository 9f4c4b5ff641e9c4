"""Claims that were locked, and what moves afterwards."""

import threading
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from tests.faults.baseline import edited
from tests.faults.ground import MEASURES, Ground
from tests.faults.registry import fault

_made = threading.Lock()


@cache
def _locked():
    ground = Ground(Path(mkdtemp(prefix="faults-lock-")) / "made")
    run = ground.pytest("--unineuron-write-lock=claim.lock").ends_with(0)
    assert not ground.broken, run.text
    return (ground.path / "claim.lock").read_bytes()


def lock(ground):
    """The lock of the same trials; made once, and copied."""
    with _made:
        content = _locked()
    (ground.path / "claim.lock").write_bytes(content)
    return ground.path / "claim.lock"


def held(ground, *arguments, **rest):
    """A run held to the lock."""
    return ground.pytest("--unineuron-lock=claim.lock", *arguments, **rest)


@fault("nothing moved since the claim was locked", "exit 0: a guard that always objects guards nothing")
def lock_kept(ground):
    lock(ground)
    held(ground).ends_with(0).never_says("LOCK:")


@fault("a bound in a lock is edited by hand", "refused before anything is measured")
def lock_edited(ground):
    path = lock(ground)
    path.write_text(path.read_text().replace('"above": 0.5', '"above": 0.2', 1))
    run = held(ground)
    run.ends_with(4, 23, 24).says("changed or damaged")
    ground.expect(not run.measured, "something was measured")


@fault("a lock is cut off in the middle", "refused before anything is measured")
def lock_truncated(ground):
    path = lock(ground)
    path.write_bytes(path.read_bytes()[:500])
    run = held(ground)
    run.ends_with(4, 23, 24).says("damaged or incomplete")
    ground.expect(not run.measured, "something was measured")


@fault("the lock is not there", "refused before anything is measured")
def lock_missing(ground):
    run = held(ground)
    run.ends_with(4, 23, 24).says("there is no such file")
    ground.expect(not run.measured, "something was measured")


@fault(
    "a bound in a lock is edited and the lock sealed again", "exit 24: the bound is not the one that is measured with"
)
def lock_forged(ground):
    path = lock(ground)

    def forge(data):
        for case in data["cases"].values():
            for of_name in case["bounds"].values():
                for bounds in of_name:
                    bounds["above"] = 0.95

    edited(path, forge)
    held(ground).ends_with(24).says("LOCK:", "'size'")


@fault("a bound is lowered after it was locked", "exit 24, which names the bound")
def lock_with_a_lowered_bound(ground):
    lock(ground)
    ground.trials(MEASURES.replace("0.5", "0.2"))
    held(ground).ends_with(24).says("LOCK: here on neox-a", "the bound of 'size' was locked at > 0.5 and is > 0.2")


@fault("a trial is renamed under a lock", "exit 24: one is gone, one was not locked")
def lock_with_a_renamed_trial(ground):
    lock(ground)
    path = ground.path / "test_trials.py"
    path.write_text(path.read_text().replace("def test_here", "def test_renamed"))
    held(ground).ends_with(24).says("LOCK: here on neox-a", "LOCK: renamed on neox-a")


@fault("another measurement is judged under a lock, the bound stays", "exit 24: its source changed")
def lock_with_another_source(ground):
    lock(ground)
    ground.trials("value = 0.1 if unineuron_case.control else 0.91\n" + MEASURES)
    held(ground).ends_with(24).says("changed since it was locked")


@fault("UNINEURON_POLICY=any in the environment, under a lock", "the lock decides, and says what gave way")
def lock_against_the_environment(ground):
    lock(ground)
    run = held(ground, environment=[("UNINEURON_POLICY", "any"), ("UNINEURON_ACCEPT_VACUOUS", "1")])
    run.ends_with(0).says("gives way to the lock")
    ground.expect(run.report["policy"] == "primary", f"the policy was {run.report['policy']}")
    ground.expect(run.report["accept_vacuous"] is False, "vacuous trials were accepted")


@fault("unineuron_tokens in the ini file, under a lock", "the lock decides, and says what gave way")
def lock_against_the_ini_file(ground):
    lock(ground)
    ground.write("pytest.ini", "[pytest]\nunineuron_tokens = 5000\n")
    run = held(ground).says("gives way to the lock")
    ground.expect(run.report["settings"]["tokens"] == 44000, f"tokens were {run.report['settings']['tokens']}")


@fault("another model on the command line, under a lock", "the lock decides, and says what gave way")
def lock_against_the_command_line(ground):
    lock(ground)
    run = held(ground, models=["--unineuron-model=nano:gpt2-a"]).says("gives way to the lock")
    run.has(before="PASS")
    ground.expect(("before", "gpt2-a", "") not in run.outcomes, "the other model was measured")


@fault("a part of what is locked is run (-k)", "exit 24: a locked trial did not come to its end")
def lock_in_part(ground):
    lock(ground)
    held(ground, "-k", "before").ends_with(24).says("LOCK: here on neox-a")


@fault("-k selects nothing, under a lock", "not exit 0")
def lock_on_nothing(ground):
    lock(ground)
    held(ground, "-k", "nothing").ends_with(24, 5)


@fault("a run under a lock is killed, then started again", "everything is measured anew; nothing is taken over")
def lock_after_a_kill(ground):
    from tests.faults.controller import KILL

    ground.trials(KILL.format("os.getpid()"))
    ground.pytest("--unineuron-write-lock=own.lock")
    (ground.root / "once").unlink(missing_ok=True)
    if not (ground.path / "own.lock").exists():
        ground.say("the run that locks was killed: there is no lock")
        (ground.root / "once").touch()
        ground.pytest("--unineuron-write-lock=own.lock").ends_with(0)
        (ground.root / "once").unlink()
    ground.pytest("--unineuron-lock=own.lock")
    run = ground.pytest("--unineuron-lock=own.lock").ends_with(0)
    ground.expect(run.resumed == 0, f"{run.resumed} results taken over")


@fault("a control breaks while the claim is locked", "no lock is written; not exit 0")
def lock_of_a_broken_control(ground):
    run = ground.trials("raise RuntimeError('broken')").pytest("--unineuron-write-lock=claim.lock")
    ground.expect(run.status not in (0, 5), f"exit {run.status}")
    ground.expect(not (ground.path / "claim.lock").exists(), "there is a lock")
    run.noted.clear()  # a run that locks writes no report


@fault("a lock is written where one is", "refused, exit 4: the first stays")
def lock_written_twice(ground):
    path = lock(ground)
    old = path.read_bytes()
    ground.pytest("--unineuron-write-lock=claim.lock").ends_with(4).says("is there already")
    ground.expect(path.read_bytes() == old, "the lock was changed")
