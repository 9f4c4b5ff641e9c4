"""Reports that must not become a baseline."""

from tests.faults.controller import KILL
from tests.faults.ground import MEASURES
from tests.faults.registry import fault


def _refused(ground, *words):
    done = ground.cli("accept", "--baseline", "baseline.json")
    ground.expect(done.status not in (0, 1), f"accept ends with {done.status}")
    for text in words:
        ground.expect(text in done.text, f"does not say {text!r}")
    ground.expect(not (ground.path / "baseline.json").exists(), "there is a baseline")
    ground.expect("Traceback" not in done.text, "a traceback")


@fault("accept: a report from which results were lost", "refused")
def accept_incomplete(ground):
    ground.trials(f"if once(): os.kill(os.getpid(), signal.SIGKILL)\n{MEASURES}").pytest("-n1").ends_with(22)
    _refused(ground, "results were lost")


@fault("accept: a report with results of an earlier attempt", "refused: a baseline is measured in one piece")
def accept_resumed(ground):
    ground.trials(KILL.format("os.getpid()")).pytest()
    ground.pytest().ends_with(0)
    _refused(ground, "of an earlier attempt", "--unineuron-resume=never")


@fault("accept: a report of a part (-k)", "refused without --partial")
def accept_partial(ground):
    ground.pytest("-k", "before").ends_with(0)
    _refused(ground, "were deselected", "--partial")


@fault("accept: a report with an ERROR", "refused")
def accept_broken(ground):
    ground.trials("raise RuntimeError('broken')").pytest().ends_with(1)
    _refused(ground, "items broke")


@fault("accept: a report of a run that was stopped (-x)", "refused, also with --partial")
def accept_stopped(ground):
    ground.trials("measure('size', 0.1, above=0.5)").pytest("-x").ends_with(1)
    _refused(ground, "were never reached")
    done = ground.cli("accept", "--partial", "--baseline", "baseline.json")
    ground.expect(done.status == 23, f"accept --partial ends with {done.status}")


@fault("accept: a report that was edited by hand", "refused")
def accept_edited(ground):
    ground.pytest().ends_with(0)
    path = ground.out / "generalization_eval_report.json"
    path.write_text(path.read_text().replace('"value": 0.9', '"value": 0.99', 1))
    _refused(ground, "changed or damaged")


@fault("accept: no report is there", "refused, and what to type")
def accept_nothing(ground):
    _refused(ground, "there is no such file")


@fault("accept over a baseline that is damaged", "said, and replaced by what is whole")
def accept_over_rubbish(ground):
    ground.pytest().ends_with(0)
    ground.write("baseline.json", "{")
    done = ground.cli("accept", "--baseline", "baseline.json")
    ground.expect(done.status == 0 and "could not be read" in done.text, f"accept ends with {done.status}: {done.text}")
    ground.expect(ground.cli("validate", "baseline.json").status == 0, "what is there now is not whole")
