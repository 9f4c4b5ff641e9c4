"""What was lost: planned or measured, and neither in a report nor in a journal."""

import json


def items(report):
    """Every item of a report by node id: its outcome, and the names and values that it measured."""
    return {
        arm["nodeid"]: (arm["outcome"], [[m["name"], m["value"]] for m in arm["measurements"]])
        for trial in report["trials"]
        for subject in trial["subjects"].values()
        for case in subject["cases"]
        for arm in (case["subject"], *case["controls"].values())
    }


def cases(report):
    """Every trial × case of a report by trial and model: its outcome."""
    return {
        (trial["name"], model, case["variant"]): case["outcome"]
        for trial in report["trials"]
        for model, subject in trial["subjects"].items()
        for case in subject["cases"]
    }


def lost(runs, struck=()):
    """What of the runs of one fault is in no report and in no journal of theirs; empty if nothing was lost.

    A number counts as kept where its own value is there: another one under its name is a loss, too. Tests that are
    ``struck`` by the fault itself have to be named only, be it on the terminal.
    """
    kept = [items(report) for run in runs for report in run.evidence]
    named = " ".join(what for run in runs for report in run.evidence for what in report.get("incomplete", ()))
    missing = {}
    for run in runs:
        for nodeid in run.planned:
            trial = nodeid.partition("::test_")[2].partition("[")[0]
            is_told = f"test_{trial}" in struck and trial in run.text
            if not is_told and nodeid not in named and not any(nodeid in found for found in kept):
                missing[nodeid] = "not named anywhere"
        for nodeid, values in run.measured.items():
            is_struck = any(f"::{name}[" in nodeid for name in struck)
            if not is_struck and not any(found.get(nodeid, ("", None))[1] == values for found in kept):
                missing[nodeid] = "measured, and not kept"
    return missing


def parsed(path):
    """A JSON file, or None."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
