"""``python -m tests.faults``: every fault, one row each."""

import argparse
import os
import re
import shutil
import sys
import tempfile
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from tests.faults.ground import Ground
from tests.faults.registry import FAULTS, Fault, Skipped

TOPICS = (
    "workers",
    "controller",
    "journals",
    "disk",
    "baseline",
    "accepting",
    "lock",
    "values",
    "bodies",
    "selection",
    "content",
    "loading",
)
HEAD = """# Faults

Made by `python -m tests.faults --out tests/faults/TABLE.md`: real faults in real runs of pytest on a file of three
trials (`before`, `here`, `after`), each with one control arm. Outcomes are those of trials, one per model; exit 20 to
24 are ours. Lost is what was planned or measured and is neither in the report nor in a journal. Trials import no torch
but where a row is about a model. A file system that is full or read-only is one (a mount in a namespace of its own); a
clock that was moved is `time.time`, `datetime` and `date` replaced in the process before anything else runs.

| | fault | promise | what happened | lost | s | |
|---|---|---|---|---|---|---|
"""


@dataclass(frozen=True)
class Row:
    """One fault after it was run."""

    fault: Fault
    verdict: str
    happened: str
    lost: str
    seconds: float

    def markdown(self, number: int) -> str:
        """A line of the table."""
        cells = (str(number), self.fault.text, self.fault.promise, self.happened, self.lost, f"{self.seconds:.1f}")
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + f" | {self.verdict} |"


def main() -> int:
    """Run what was asked for; 1 if a promise is broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--only", action="append", metavar="NAME", help="faults whose name contains this; repeatable")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the table there")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="faults at a time (default: 2)")
    parser.add_argument("--keep", action="store_true", help="leave the folders of broken rows there")
    said = parser.parse_args()
    for topic in TOPICS:
        import_module(f"tests.faults.{topic}")
    chosen = [f for f in FAULTS if not said.only or any(word in f.name for word in said.only)]
    began, rows = time.monotonic(), []
    root = Path(tempfile.mkdtemp(prefix="faults-"))
    tempfile.tempdir = str(root)  # what rows share is made below it, and goes with it
    with ThreadPoolExecutor(max(1, said.jobs)) as pool:
        for row in pool.map(lambda each: _row(each, root / each.name), chosen):
            rows.append(row)
            print(
                f"{row.verdict:7} {row.fault.name}: {row.happened}; lost: {row.lost} ({row.seconds:.1f} s)", flush=True
            )
            if row.verdict == "ok" or not said.keep:
                shutil.rmtree(root / row.fault.name, ignore_errors=True)
    if said.keep and any(row.verdict != "ok" for row in rows):
        print(f"kept: {root}")
    else:
        shutil.rmtree(root, ignore_errors=True)
    counts = {word: sum(row.verdict == word for row in rows) for word in ("ok", "BROKEN", "skipped")}
    total = f"{len(rows)} faults: " + ", ".join(f"{n} {word}" for word, n in counts.items() if n)
    total += f"; {time.monotonic() - began:.0f} seconds, {said.jobs} at a time."
    print(total)
    if said.out:
        lines = [row.markdown(number) for number, row in enumerate(rows, start=1)]
        said.out.write_text(HEAD + "\n".join(lines) + f"\n\n{total}\n", encoding="utf-8")
    return 1 if counts["BROKEN"] else 0


def _row(fault: Fault, root: Path) -> Row:
    began = time.monotonic()
    ground = Ground(root)
    try:
        fault.run(ground)
        verdict = "ok"
    except Skipped as reason:
        return Row(fault, "skipped", _clean(str(reason), root), "—", time.monotonic() - began)
    except Exception:  # a row that cannot be made tells so, and the others go on
        ground.broken.append("the row itself broke: " + " / ".join(traceback.format_exc().splitlines()[-3:]))
    items = {nodeid for run in ground.runs for nodeid in run.planned}
    missing = ground.lost()
    lost = f"nothing of {len(items)}" if items else "nothing planned"
    if missing:
        first = next(iter(missing))
        lost = f"{len(missing)} of {len(items)}: {first} ({missing[first]})"
    happened = "; then ".join(ground.words)
    if ground.broken or missing:
        verdict = "BROKEN"
        happened += "".join(f"; **{what}**" for what in ground.broken)
    return Row(fault, verdict, _clean(happened, root), _clean(lost, root), time.monotonic() - began)


def _clean(text: str, root: Path) -> str:
    """Without the names of this machine."""
    text = text.replace(str(root / "project"), ".").replace(str(root), "..").replace(os.sep + "private", "")
    return re.sub(r"[^\x20-\x7e\x80-\uffff]", "?", text)[:600]


if __name__ == "__main__":
    sys.exit(main())
