"""Baselines that are damaged, of another time, or of something else; and what a waiver may do."""

import json
import threading
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from tests.faults.ground import MEASURES, TWO, Ground
from tests.faults.registry import fault

_made = threading.Lock()


@cache
def _accepted():
    ground = Ground(Path(mkdtemp(prefix="faults-baseline-")) / "made")
    ground.pytest().ends_with(0)
    assert ground.cli("accept", "--baseline", "baseline.json").status == 0
    return (ground.path / "baseline.json").read_bytes()


def baseline(ground):
    """The accepted report of a run of the same trials; made once, and copied."""
    with _made:
        content = _accepted()
    path = ground.path / "baseline.json"
    path.write_bytes(content)
    return path


def edited(path, change):
    """Change a sealed file as somebody who seals it again."""
    from pytest_unineuron.evidence.strict_json import DIGEST_KEY, add_digest, to_json

    data = json.loads(path.read_text("utf-8"))
    data.pop(DIGEST_KEY)
    change(data)
    path.write_text(to_json(add_digest(data)), encoding="utf-8")


def held(ground, *arguments, **rest):
    """A run held against the baseline."""
    return ground.pytest("--unineuron-baseline=baseline.json", *arguments, **rest)


def unusable(ground, *words):
    """A run against a baseline that cannot be used: 23, in one sentence, and the run's own report is whole."""
    run = held(ground).ends_with(23).says("baseline", *words).never_says("Traceback", "INTERNALERROR")
    done = ground.cli("gate", "evaluation/generalization_eval_report.json", "--baseline", "baseline.json", quiet=True)
    if run.report is not None:
        ground.expect(done.status == 23, f"gate ends with {done.status}")


@fault("the baseline is not there", "exit 23")
def baseline_missing(ground):
    unusable(ground, "there is no such file")


@fault("the baseline is cut off in the middle", "exit 23: damaged")
def baseline_truncated(ground):
    path = baseline(ground)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    unusable(ground, "is damaged or incomplete")


@fault("the baseline is empty", "exit 23: damaged")
def baseline_empty(ground):
    ground.write("baseline.json", "")
    unusable(ground, "is damaged or incomplete")


@fault("the baseline is a folder", "exit 23: cannot be read")
def baseline_is_a_folder(ground):
    (ground.path / "baseline.json").mkdir()
    unusable(ground, "cannot be read")


@fault("the baseline is of a newer schema", "exit 23, and what to type")
def baseline_newer(ground):
    edited(baseline(ground), lambda data: data.update(schema_version=99))
    unusable(ground, "newer pytest-unineuron", "pip install --upgrade")


@fault("the baseline holds NaN, sealed again", "exit 23: NaN is not JSON")
def baseline_with_nan(ground):
    path = baseline(ground)
    path.write_text(path.read_text().replace('"value": 0.9', '"value": NaN', 1))
    unusable(ground, "NaN is not JSON")


@fault("one digit in the baseline is changed", "exit 23: changed or damaged")
def baseline_bit_flipped(ground):
    path = baseline(ground)
    path.write_text(path.read_text().replace('"value": 0.9', '"value": 0.8', 1))
    unusable(ground, "changed or damaged")


@fault("a FAIL is edited into a PASS, and the baseline is sealed again", "exit 23: its measurements do not come to it")
def baseline_that_lies(ground):
    def lie(data):
        data["trials"][0]["subjects"]["neox-a"]["cases"][0]["subject"]["measurements"][0]["value"] = 0.2

    edited(baseline(ground), lie)
    unusable(ground)


@fault("a key is in the baseline twice", "exit 23: which of them counts cannot be told")
def baseline_with_a_key_twice(ground):
    path = baseline(ground)
    path.write_text(path.read_text().replace('"value": 0.9', '"value": 0.9, "value": 0.7', 1))
    unusable(ground, "twice")


@fault("the baseline is in UTF-16", "exit 23: not text in UTF-8")
def baseline_in_another_encoding(ground):
    path = baseline(ground)
    path.write_text(path.read_text(), encoding="utf-16")
    unusable(ground, "UTF-8")


@fault("a trial of the baseline was renamed", "MISSING under its old name, new under its new; exit 21")
def baseline_with_a_renamed_trial(ground):
    baseline(ground)
    path = ground.path / "test_trials.py"
    path.write_text(path.read_text().replace("def test_here", "def test_renamed"))
    held(ground).ends_with(21).says("missing: here on neox-a", "new: renamed on neox-a")


@fault("a trial file of the baseline is not there any more", "its trials are MISSING; exit 21")
def baseline_with_a_removed_file(ground):
    baseline(ground)
    ground.trials(name="test_others.py")
    path = ground.path / "test_others.py"
    path.write_text(path.read_text().replace("def test_", "def test_other_"))
    (ground.path / "test_trials.py").unlink()
    held(ground).ends_with(21, 23).says("missing")


@fault("a claim that passed now misses its bound", "regressed; exit 21")
def regressed(ground):
    baseline(ground)
    ground.trials("measure('size', 0.1, above=0.5)")
    held(ground).ends_with(21).says("regressed: here on neox-a", "PASS before, FAIL now")


@fault("a bound is lowered so that a worse number passes", "incomparable: the claim is another; exit 23")
def bound_lowered(ground):
    baseline(ground)
    ground.trials("measure('size', 0.1 if unineuron_case.control else 0.4, above=0.3)")
    held(ground).ends_with(23).says("incomparable: here on neox-a", "was claimed > 0.5")


@fault("a claim that passed now breaks (ERROR)", "regressed; not exit 0")
def now_broken(ground):
    baseline(ground)
    ground.trials("raise RuntimeError('broken')")
    run = held(ground).says("regressed: here on neox-a")
    ground.expect(run.status in (1, 21), f"exit {run.status}")


@fault("controls are switched off against the baseline", "incomparable; exit 23")
def controls_switched_off(ground):
    baseline(ground)
    held(ground, controls="none").ends_with(23).says("its controls were untrained and are none")


@fault("nothing of the baseline is in the run (another model)", "nothing was compared: exit 23, never 0")
def nothing_to_compare(ground):
    baseline(ground)
    run = held(ground, models=["--unineuron-model=nano:gpt2-a"])
    run.ends_with(23).says("nothing was compared")


@fault("-k selects nothing, against a baseline", "exit 23 or 5, never 0")
def nothing_selected_against_a_baseline(ground):
    baseline(ground)
    held(ground, "-k", "nothing").ends_with(23, 5)


@fault("a part is run (-k) with --unineuron-tolerate=none", "what was not run counts: exit 21")
def part_not_tolerated(ground):
    baseline(ground)
    held(ground, "-k", "before", "--unineuron-tolerate=none").ends_with(21).says("not run")


@fault("the digests of weights in the baseline are of other weights", "incomparable; exit 23")
def baseline_of_other_weights(ground):
    path = baseline(ground)
    text = path.read_text()
    digest = json.loads(text)["trials"][0]["subjects"]["neox-a"]["cases"][0]["subject"]["made_from"]["models"]["neox-a"]
    edited(path, lambda data: data.update(json.loads(json.dumps(data).replace(digest, "0" * 64))))
    held(ground).ends_with(23).says("other weights or configuration: neox-a")


WAIVER = "--unineuron-waive=here on neox-a until {}: a known fault"


@fault("a regression under a waiver that is over", "exit 21; the waiver is said to be over")
def waiver_over(ground):
    baseline(ground)
    ground.trials("measure('size', 0.1, above=0.5)")
    held(ground, WAIVER.format("2020-01-31")).ends_with(21).says("has expired; renew it")


CLOCK = '''
"""The clock of this process runs ten years behind."""
import datetime, time
BACK = datetime.timedelta(days=3650)
_date, _datetime, _time = datetime.date, datetime.datetime, time.time
class date(_date):
    @classmethod
    def today(cls):
        return (_datetime.now() - BACK).date()
class datetime_(_datetime):
    @classmethod
    def now(cls, tz=None):
        return _datetime.now(tz) - BACK
time.time = lambda: _time() - BACK.total_seconds()
datetime.date, datetime.datetime = date, datetime_
'''


def clock_moved_back(ground):
    """The environment in which a process believes that it is ten years earlier."""
    folder = ground.root / "clock"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(CLOCK)
    from tests.faults.ground import ROOT

    return [("PYTHONPATH", f"{folder}:{ROOT}")]


@fault(
    "the clock is moved back ten years, to before a waiver was over",
    "a clock behind the baseline is not believed: exit 21",
)
def waiver_revived_by_the_clock(ground):
    baseline(ground)
    ground.trials("measure('size', 0.1, above=0.5)")
    run = held(ground, WAIVER.format("2026-01-31"), environment=clock_moved_back(ground))
    ground.expect(run.report["created"] < "2020", "the clock was not moved")
    run.ends_with(21).says("has expired; renew it")


@fault(
    "the clock is moved back ten years between a killed run and the next", "results are taken over; nothing is pruned"
)
def clock_moved_back_before_resuming(ground):
    from tests.faults.controller import KILL, WHOLE

    ground.trials(KILL.format("os.getpid()"))
    ground.pytest()
    run = ground.pytest(environment=clock_moved_back(ground)).ends_with(0).has(**WHOLE)
    ground.expect(run.resumed == 3, f"{run.resumed} results taken over")


@fault("a waiver without an end, without a reason, or for a date that is none", "exit 4, and how to say it")
def waiver_without_an_end(ground):
    baseline(ground)
    for text in ("here: whatever", "here until 2027-01-31:", "here until 2027-02-31: whatever"):
        held(ground, f"--unineuron-waive={text}").ends_with(4).says("TRIAL[CORPUS] on MODEL until")


@fault("a worker is killed in a run against a baseline", "lost results come before a regression: exit 22")
def worker_killed_against_a_baseline(ground):
    baseline(ground)
    ground.trials(f'if unineuron_case.id == "neox-a" and once(): os.kill(os.getpid(), signal.SIGKILL)\n{MEASURES}')
    held(ground, "-n2", models=TWO).ends_with(22).has(before="PASS", here="ERROR", after="PASS")
