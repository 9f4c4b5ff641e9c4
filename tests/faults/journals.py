"""Journals that are not as they were written."""

import json

from tests.faults.controller import KILL, WHOLE
from tests.faults.registry import fault


def _killed(ground):
    first = ground.trials(KILL.format("os.getpid()")).pytest()
    (path,) = ground.journals()
    return first, path


def _whole_again(ground, taken):
    run = ground.pytest().ends_with(0).has(**WHOLE)
    ground.expect(run.resumed == taken, f"{run.resumed} results taken over instead of {taken}")
    ground.say(f"{run.resumed} taken over")
    return run


@fault(
    "the last line of a journal is cut in the middle",
    "what stands before is used; the item of that line is measured anew",
)
def journal_cut(ground):
    _, path = _killed(ground)
    text = path.read_bytes()
    lines = text.splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]) + lines[-1][: len(lines[-1]) // 2])
    ground.cli("validate", path)
    _whole_again(ground, 3)


@fault("one digit of a number in a journal is changed", "that line is named as damaged; its item is measured anew")
def journal_bit_flipped(ground):
    _, path = _killed(ground)
    text = path.read_bytes()
    path.write_bytes(text.replace(b'"value": 0.9', b'"value": 0.8', 1))
    said = ground.cli("report", path)
    ground.expect("of the journal is damaged" in said.text, "the damage is not told")
    ground.expect("0.8" not in said.text, "the changed number is shown")
    _whole_again(ground, 2)


@fault("the line of the plan is cut out of a journal", "nothing is taken for the whole; the report is incomplete")
def journal_without_plan(ground):
    _, path = _killed(ground)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if '"kind": "plan"' not in line))
    ground.cli("validate", path)
    run = ground.pytest().ends_with(0).has(**WHOLE)
    ground.expect(run.report is not None, "no report")


@fault("a journal is of another format", "`report` says so and ends with 23; the next run measures all anew")
def journal_of_another_format(ground):
    _, path = _killed(ground)
    from pytest_unineuron.evidence.strict_json import json_digest

    first, *rest = path.read_text().splitlines(keepends=True)
    event = {**json.loads(first)["event"], "format": 99}
    path.write_text(json.dumps({"event": event, "sum": json_digest(event)[:16]}) + "\n" + "".join(rest))
    said = ground.cli("report", path)
    ground.expect(said.status == 23, f"report ends with {said.status}")
    ground.expect("is of format 99" in said.text, "the format is not named")
    _whole_again(ground, 0)


@fault("a journal is binary rubbish", "`report` says so and ends with 23; the next run measures all anew")
def journal_of_rubbish(ground):
    _, path = _killed(ground)
    path.write_bytes(bytes(range(256)) * 50)
    said = ground.cli("report", path)
    ground.expect(said.status == 23, f"report ends with {said.status}")
    ground.expect("Traceback" not in said.text, "a traceback")
    _whole_again(ground, 0)


@fault(
    "the source of a trial is edited between a killed run and the next", "nothing of before counts for the new source"
)
def source_edited_before_resuming(ground):
    _killed(ground)
    path = ground.path / "test_trials.py"
    path.write_text(path.read_text().replace("else 0.9", "else 0.7"))
    run = _whole_again(ground, 0)
    ground.expect("0.9" not in str(run.report["trials"]), "an old number is in the new report")


@fault("a setting that measurements depend on is changed between a killed run and the next", "all is measured anew")
def setting_changed_before_resuming(ground):
    _killed(ground)
    run = ground.pytest("--unineuron-tokens=5000").ends_with(0).has(**WHOLE)
    ground.expect(run.resumed == 0, f"{run.resumed} results taken over")


@fault(
    "a run is killed; the next is of a part only (-k)", "the part is not taken for the whole: the attempt stays open"
)
def resumed_in_part(ground):
    _killed(ground)
    run = ground.pytest("-k", "before")
    run.ends_with(0).has(before="PASS", after="NOT_RUN")
    ground.expect(len(ground.journals()) == 1, f"{len(ground.journals())} journals are open")
    _whole_again(ground, 5 - 2)


@fault("a journal of somebody else's folder, with other node ids, lies among one's own", "nothing of it is used")
def journal_of_another_run(ground):
    _killed(ground)
    (ground.path / "test_trials.py").rename(ground.path / "test_others.py")
    _whole_again(ground, 0)
