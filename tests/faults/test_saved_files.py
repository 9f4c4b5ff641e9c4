"""Journals, baselines and locks that were damaged, forged or written in another format.

Random damage is tested in ``tests/fuzz``.
"""

import json

import pytest

from pytest_unineuron.cli.main import main
from pytest_unineuron.evidence import strict_json
from tests.faults.three import MEASURES, ONE, REPORT, TWO, journals, outcomes, write
from tests.fuzz import damage

pytestmark = pytest.mark.fault

MISSES = 'measure("size", 0.1, above=0.5)'


@pytest.fixture
def accepted(trials):
    """The three trials, with an accepted baseline ``b.json`` of them."""
    write(trials).run(*ONE)
    assert main(["accept", str(trials.path / "evaluation" / REPORT), "--baseline", str(trials.path / "b.json")]) == 0
    return trials


def forge(path, change):
    """Change a file and give it a valid digest again."""
    data = json.loads(path.read_text(encoding="utf-8"))
    del data["digest"]
    change(data)
    path.write_bytes(damage.to_bytes(data))


def other_format(data):
    first, _, rest = data.partition(b"\n")
    event = {**json.loads(first)["event"], "format": 99}
    return json.dumps({"event": event, "sum": strict_json.json_digest(event)[:16]}).encode() + b"\n" + rest


@pytest.mark.parametrize(
    ("damaging", "status", "message"),
    [
        (lambda data: data[: len(data) * 2 // 3], 0, "1 NOT_RUN"),
        (lambda data: data.replace(b'"value": 0.9', b'"value": 0.8', 1), 0, "of the journal is damaged"),
        (other_format, 23, "is of format 99"),
    ],
    ids=["cut", "digit", "format"],
)
def test_damaged_lines_of_a_journal_are_left_out(trials, capsys, damaging, status, message):
    write(trials).run(*ONE)
    (path,) = journals(trials.path / "evaluation")
    path.write_bytes(damaging(path.read_bytes()))
    capsys.readouterr()
    assert main(["report", str(path)]) == status
    printed = "".join(capsys.readouterr())
    assert message in printed
    assert "0.8" not in printed


def test_a_baseline_whose_outcome_was_forged_is_refused(accepted):
    """The digest is right, but the outcome does not follow from the measurements."""

    def change_value(data):
        data["trials"][0]["subjects"]["neox-a"]["cases"][0]["subject"]["measurements"][0]["value"] = 0.2

    forge(accepted.path / "b.json", change_value)
    found = accepted.run(*ONE, "--unineuron-baseline=b.json")
    assert found.ret == 23
    assert outcomes(found) == "PASS PASS PASS"


def test_a_baseline_that_is_a_folder_is_refused(trials):
    (trials.path / "b.json").mkdir()
    found = write(trials).run(*ONE, "--unineuron-baseline=b.json")
    assert found.ret == 23
    found.result.stdout.fnmatch_lines(["baseline *cannot be read*"])


def test_a_damaged_baseline_is_kept_until_it_is_deleted(accepted, capsys):
    base, report = accepted.path / "b.json", accepted.path / "evaluation" / REPORT
    base.write_text("{")
    assert main(["accept", str(report), "--baseline", str(base)]) == 4
    assert "name another file, or delete this one" in capsys.readouterr().err
    assert base.read_text() == "{"
    base.unlink()
    assert main(["accept", str(report), "--baseline", str(base)]) == 0
    assert base.read_bytes() == report.read_bytes()


def test_lost_results_take_precedence_over_a_regression(accepted):
    body = f'if unineuron_case.id == "neox-a" and once(): os.kill(os.getpid(), signal.SIGKILL)\n{MEASURES}'
    found = write(accepted, body).run("-n2", *TWO, "--unineuron-baseline=b.json")
    assert found.ret == 22
    assert outcomes(found) == "PASS ERROR PASS"


CLOCK = """
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
"""


def test_a_clock_that_was_set_back_does_not_renew_a_waiver(accepted, monkeypatch):
    """The day of the baseline is the earliest day that counts as today."""
    (accepted.path / "clock").mkdir()
    (accepted.path / "clock" / "sitecustomize.py").write_text(CLOCK)
    monkeypatch.syspath_prepend(accepted.path / "clock")
    monkeypatch.setenv("PYTHONPATH", str(accepted.path / "clock"), prepend=":")
    waiver = "--unineuron-waive=here on neox-a until 2026-01-31: a known fault"
    found = write(accepted, MISSES).run(*ONE, "--unineuron-baseline=b.json", waiver, subprocess=True)
    assert found.report["created"] < "2020"
    assert found.ret == 21
    found.result.stdout.fnmatch_lines(["*has expired; renew it*"])


def test_a_forged_bound_in_a_lock_is_a_violation(trials):
    write(trials).run(*ONE, "--unineuron-write-lock=claim.lock")

    def raise_bounds(data):
        for case in data["cases"].values():
            case["bounds"]["size"][0]["above"] = 0.95

    forge(trials.path / "claim.lock", raise_bounds)
    found = trials.run("--unineuron-lock=claim.lock")
    assert found.ret == 24
    found.result.stdout.fnmatch_lines(["LOCK: *'size'*"])
