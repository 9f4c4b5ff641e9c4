"""File systems that are full, read-only, gone, or not what they were."""

import resource

from tests.faults import space
from tests.faults.ground import MEASURES
from tests.faults.registry import fault

WHOLE = {"before": "PASS", "here": "PASS", "after": "PASS"}
FILL = """
if unineuron_case.control:
    try:
        with open("evaluation/fill", "wb", buffering=0) as file:
            while True:
                file.write(bytes(64))
    except OSError as error:
        assert error.errno == 28
"""


@fault(
    "the disk is full where the journal goes",
    "the run goes on, says that it cannot be resumed, and its report is whole",
)
def disk_full_for_the_journal(ground):
    before = space.full(ground.out / "journal", ground.root / "kept")
    ground.pytest(before=before).ends_with(0).has(**WHOLE).says("the journal could not be written", "cannot be resumed")


@fault(
    "the disk gets full in the middle of a run, under journal and report",
    "exit 22, and the terminal says what was not written; what was in the journal by then is there",
)
def disk_full_for_the_report(ground):
    before = space.full(ground.out, ground.root / "kept", "100")
    ground.struck = ("test_here", "test_after")  # there is no room for them anywhere but on the terminal
    run = ground.trials(FILL + MEASURES).pytest(before=before)
    run.ends_with(22).says("was not written", "No space left on device", "before", "after")
    ground.recover(run, (ground.root / "kept" / "journal").glob("*.jsonl")).has(before="PASS")


@fault(
    "the disk is full where the report goes, over an older report", "the older report is whole and as it was; exit 22"
)
def disk_full_over_an_older_report(ground):
    ground.pytest().ends_with(0)
    ground.struck = ("test_here", "test_after")
    old = (ground.out / "generalization_eval_report.json").read_bytes()
    kept = ground.root / "kept"
    copy = 'cp "$1/../old.json" "$1/generalization_eval_report.json"; shift; exec "$@"'
    (ground.path / "old.json").write_bytes(old)
    before = [*space.full(ground.out, kept, "100"), "sh", "-c", copy, "sh", str(ground.out)]
    run = ground.trials(FILL + MEASURES).pytest(before=before, out=kept).ends_with(22)
    ground.expect((kept / "generalization_eval_report.json").read_bytes() == old, "the older report is not what it was")
    run.report = None
    ground.recover(run, (kept / "journal").glob("*.jsonl")).has(before="PASS")


@fault(
    "the disk is full where pytest's cache goes, a model is loaded",
    "the run is whole; nothing is remembered, that is all",
)
def disk_full_for_the_cache(ground):
    before = space.full(ground.path / ".pytest_cache", ground.root / "kept")
    from tests.faults.loading import MODEL, WEIGHTS, tiny

    tiny(ground)
    run = ground.trials(MEASURES, fixtures=WEIGHTS).pytest("-k", "here", before=before, models=MODEL, controls="none")
    run.ends_with(0).has("tiny", here="NA", before="NOT_RUN")
    ground.expect(run.report["models"]["tiny"]["neurons"], "no neurons were found")


@fault(
    "files may not grow beyond 8 KiB (RLIMIT_FSIZE), which the journal does first",
    "the run goes on and says that it cannot be resumed; what is too large for a file is exit 22",
)
def files_may_not_grow(ground):
    limit = 8 * 1024
    run = ground.pytest(preexec=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    ground.struck = ("test_before", "test_here", "test_after")
    run.ends_with(22).says("the journal could not be written", "generalization_eval_report.json was not written")
    run.says("before", "here", "after")
    ground.recover(run)


@fault("no file may be opened any more (RLIMIT_NOFILE) at the end of the run", "exit 22; the journal has everything")
def no_files_left(ground):
    ground.write(
        "conftest.py",
        """
        import os, resource
        def pytest_runtest_logfinish(nodeid):
            if nodeid.endswith("test_after[neox-a~untrained]"):
                import pytest_unineuron.reports.write
                resource.setrlimit(resource.RLIMIT_NOFILE, (3, 64))
        def pytest_terminal_summary():
            resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    """,
    )
    run = ground.pytest()
    run.ends_with(22).says("was not written")
    ground.recover(run, ground.journals() + ground.journals("done")).has(**WHOLE)


@fault("--unineuron-out is read-only", "refused at once, exit 4: nothing is measured in vain")
def read_only_out(ground):
    out = ground.path / "kept" / "here"
    run = ground.pytest("--unineuron-out=kept/here", before=space.read_only(out))
    run.ends_with(4).says("cannot be written to", "Read-only file system")
    ground.expect(not run.measured, "something was measured")


@fault(
    "the folder that pytest is started in is read-only, nothing is said about --unineuron-out",
    "exit 22 or 4, and what was measured is at least on the terminal",
)
def read_only_everything(ground):
    ground.struck = ("test_before", "test_here", "test_after")
    run = ground.pytest(before=space.read_only(ground.path))
    run.ends_with(22, 4).says("Read-only file system")
    if run.measured:
        run.says("Trials: 3 PASS")


@fault(
    "the out folder is a file", "named: refused at once, exit 4; by default: exit 22, 4, and never a report elsewhere"
)
def out_is_a_file(ground):
    ground.write("evaluation", "")
    ground.struck = ("test_before", "test_here", "test_after")
    ground.pytest("--unineuron-out=evaluation/deeper").ends_with(4).says("is not a folder")
    ground.pytest().ends_with(22, 4)


@fault("--unineuron-out is a name too long for any file system", "refused at once, exit 4, in one sentence")
def out_is_too_long(ground):
    ground.struck = ("test_before", "test_here", "test_after")
    run = ground.pytest(f"--unineuron-out={'x' * 300}/{'y' * 300}")
    run.ends_with(4).says("--unineuron-out").never_says("Traceback", "INTERNALERROR")
    ground.expect(not run.measured, "everything was measured before that was told")


@fault("--unineuron-out is a path of 5 000 characters", "refused at once, exit 4, in one sentence")
def out_is_too_deep(ground):
    ground.struck = ("test_before", "test_here", "test_after")
    run = ground.pytest(f"--unineuron-out={'/'.join(['deep'] * 1000)}")
    run.ends_with(4).says("--unineuron-out").never_says("Traceback", "INTERNALERROR")
    ground.expect(not run.measured, "everything was measured before that was told")


@fault("a trial deletes the out folder", "it is made again, and the report is whole")
def out_is_deleted(ground):
    ground.trials('import shutil; shutil.rmtree("evaluation", ignore_errors=True)\n' + MEASURES)
    ground.pytest().ends_with(0).has(**WHOLE)


@fault(
    "a trial deletes the folder that pytest was started in, --unineuron-out is elsewhere",
    "pytest itself gives up, not with 0; the journal has everything",
)
def started_in_a_deleted_folder(ground):
    ground.trials(f"{MEASURES}\nimport shutil; shutil.rmtree(os.path.dirname(__file__), ignore_errors=True)")
    out = ground.root / "kept"
    run = ground.pytest(f"--unineuron-out={out}")
    ground.path.mkdir(exist_ok=True)
    ground.expect(run.status != 0, "exit 0")
    ground.recover(run, (out / "journal").glob("*.jsonl")).has(before="PASS", here="PASS")


@fault("a trial changes the working folder, under a relative --unineuron-out", "the report is where it was asked for")
def working_folder_changes(ground):
    (ground.path / "elsewhere").mkdir()
    ground.trials('os.chdir("elsewhere") if os.path.isdir("elsewhere") else None\n' + MEASURES)
    run = ground.pytest("--unineuron-out=kept", out=ground.path / "kept")
    run.ends_with(0).has(**WHOLE)
    ground.expect(not list((ground.path / "elsewhere").iterdir()), "something was written elsewhere")


@fault("a folder stands where the summary is to be written", "the other files are written; exit 22 and its name")
def folder_in_the_way(ground):
    (ground.out / "generalization_eval_summary.json").mkdir(parents=True)
    ground.pytest().ends_with(22).has(**WHOLE).says("generalization_eval_summary.json was not written")


@fault(
    "the disk is full while a report is accepted over an older baseline", "the older baseline is as it was; not exit 0"
)
def disk_full_while_accepting(ground):
    ground.pytest().ends_with(0)
    kept = ground.root / "kept"
    script = (
        "cp evaluation/generalization_eval_report.json baselines/b.json; "
        'dd if=/dev/zero of=baselines/fill 2>/dev/null; exec "$@"'
    )
    before = [*space.full(ground.path / "baselines", kept, "100"), "sh", "-c", script, "sh"]
    done = ground.cli("accept", "--baseline", "baselines/b.json", before=before)
    ground.expect(done.status not in (0, 99), f"accept ends with {done.status}")
    ground.expect("cannot be written" in done.text and "Traceback" not in done.text, f"says {done.text[-200:]}")
    old = (ground.out / "generalization_eval_report.json").read_bytes()
    ground.expect((kept / "b.json").read_bytes() == old, "the older baseline is damaged")
