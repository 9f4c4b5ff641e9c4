"""Disks that are full or read-only, folders that are deleted, and limits of the system.

Full and read-only file systems are real ones, mounted in a namespace of the process that is tested.
"""

import os
import re
import subprocess

import pytest

from tests.faults.three import MEASURES, ONE, REPORT, journals, outcomes, report_from_journal, run_wrapped, write

pytestmark = pytest.mark.fault

FULL = """
folder=$1 copy=$2; shift 2
mount -t tmpfs -o size=128k none "$folder" || exit 99
dd if=/dev/zero of="$folder/filler" bs=1024 count={filled} 2>/dev/null
{first}
"$@"; status=$?
rm -f "$folder/filler"; cp -r "$folder" "$copy"; exit $status
"""
READ_ONLY = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" || exit 99; shift; exec "$@"'
FILL = """
if unineuron_case.control:
    with pytest.raises(OSError), open("evaluation/more", "wb", buffering=0) as file:
        while True:
            file.write(bytes(64))
"""


@pytest.fixture(scope="module")
def unshare():
    """The command that starts a process in a mount namespace of its own."""
    command = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
    try:
        subprocess.run([*command, "mount", "-t", "tmpfs", "none", "/mnt"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"nothing can be mounted here: {error}")
    return command


@pytest.fixture
def full(unshare, trials):
    """A function that makes a command with a folder on a nearly full disk. ``copy`` holds the folder afterwards."""

    def behind(folder, left=0, first=""):
        (trials.path / folder).mkdir(parents=True, exist_ok=True)
        script = FULL.format(filled=128 - left, first=first)
        return [*unshare, "sh", "-c", script, "sh", str(trials.path / folder), str(trials.path / "copy")]

    return behind


def test_a_disk_that_is_full_for_the_journal_costs_no_result(trials, full):
    found = run_wrapped(write(trials), full("evaluation/journal"), *ONE)
    assert found.ret == 0
    assert outcomes(found) == "PASS PASS PASS"
    found.result.stdout.fnmatch_lines(["the journal could not be written (*"])


def test_a_disk_that_fills_up_leaves_the_older_report_and_the_journal_so_far(trials, full):
    write(trials).run(*ONE)
    older = (trials.path / "evaluation" / REPORT).read_bytes()
    (trials.path / REPORT).write_bytes(older)
    behind = full("evaluation", 100, first=f"cp {REPORT} evaluation")
    found = run_wrapped(write(trials, FILL + MEASURES), behind, *ONE)
    assert found.ret == 22
    found.result.stdout.fnmatch_lines([f"{REPORT} was not written: *No space left on device*"])
    assert (trials.path / "copy" / REPORT).read_bytes() == older
    (journal,) = journals(trials.path / "copy")
    assert report_from_journal(trials, journal).outcome("before") == "PASS"


def test_a_disk_that_is_full_for_the_cache_changes_no_result(trials, full):
    """The neurons of a model are then found again in the next run."""
    write(trials, fixtures="unineuron_case, unineuron_weights")
    blocked = run_wrapped(trials, full(".pytest_cache"), "-p", "cacheprovider", *ONE)
    assert blocked.ret == 0
    assert outcomes(blocked) == "PASS PASS PASS"
    assert blocked.report["models"]["neox-a"]["neurons"]


def test_a_disk_that_is_full_while_a_baseline_is_accepted_leaves_the_older_one(trials, full):
    write(trials).run(*ONE)
    report = trials.path / "evaluation" / REPORT
    behind = full(
        "baselines", 100, first=f"cp {report} baselines/b.json; dd if=/dev/zero of=baselines/more 2>/dev/null"
    )
    command = ["pytest-unineuron", "accept", str(report), "--baseline", "baselines/b.json"]
    done = trials.pytester.run(*behind, *command)
    assert done.ret not in (0, 99)
    assert "cannot be written" in done.stderr.str()
    assert (trials.path / "copy" / "b.json").read_bytes() == report.read_bytes()


def test_a_read_only_folder_for_reports_is_refused_before_anything_is_measured(trials, unshare):
    (trials.path / "kept").mkdir()
    behind = [*unshare, "sh", "-c", READ_ONLY, "sh", str(trials.path / "kept")]
    found = run_wrapped(write(trials, "once()"), behind, *ONE, "--unineuron-out=kept")
    assert found.ret == 4
    found.result.stderr.fnmatch_lines(["*cannot be written to*Read-only file system*"])
    assert not (trials.path / "called").exists()


def test_a_folder_for_reports_with_too_long_a_name_is_refused(trials):
    found = write(trials, "once()").run(*ONE, f"--unineuron-out={'x' * 300}")
    assert found.ret == 4
    found.result.stderr.fnmatch_lines(["ERROR: --unineuron-out*"])
    assert not (trials.path / "called").exists()


def test_a_report_beyond_the_limit_of_file_sizes_fails_the_run(trials):
    trials.pytester.makeconftest("import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))\n")
    found = write(trials).run(*ONE, subprocess=True)
    assert found.ret == 22
    for name in (REPORT, "the journal"):
        assert re.search(rf"^{name} (was not|could not be) written.*File too large", found.result.stdout.str(), re.M)


def test_a_folder_for_reports_that_a_trial_deletes_is_made_again(trials):
    body = f'import shutil; shutil.rmtree("evaluation", ignore_errors=True)\n{MEASURES}'
    found = write(trials, body).run(*ONE)
    assert found.ret == 0
    assert outcomes(found) == "PASS PASS PASS"


def test_a_trial_that_changes_the_working_directory_does_not_move_the_report(trials):
    (trials.path / "elsewhere").mkdir()
    body = f"if os.path.isdir('elsewhere'): os.chdir('elsewhere')\n{MEASURES}"
    found = write(trials, body).run(*ONE, subprocess=True)
    assert outcomes(found) == "PASS PASS PASS"
    assert not list((trials.path / "elsewhere").iterdir())
