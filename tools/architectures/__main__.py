"""``python -m tools.architectures``: find the neurons of every architecture in the installed transformers."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from tools.architectures.examination import INCOMPLETE, VARIANTS
from tools.architectures.table import render_table, summarise
from tools.architectures.workers import examine_all

if TYPE_CHECKING:
    from tools.architectures.examination import Examination


def main(argv: list[str] | None = None) -> int:
    """Run the command. Returns 1 if an entry is partial or failed, for the gate on an upgrade of transformers."""
    options = _parser().parse_args(argv)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    results = _examine(options, options.variant, held_out=options.held_out)
    print(summarise(results))
    variants = {}
    if options.everything:
        chosen = [(name, False) for name in VARIANTS if name != options.variant] + [("image-text", True)]
        for name, held_out in chosen:
            variants[name] = _examine(options, options.variant if held_out else name, held_out=held_out)
            print(f"{name}: {summarise(variants[name])}")
    versions = {name: version(name) for name in ("transformers", "torch")} | {"python": platform.python_version()}
    command = " ".join(["python -m tools.architectures", *(sys.argv[1:] if argv is None else argv)])
    if options.out:
        Path(options.out).write_text(render_table(results, command, versions, variants), encoding="utf-8")
    if options.json:
        content = {
            "versions": versions,
            "variant": options.variant,
            "results": [result.as_dict() for result in results],
            "variants": {name: [result.as_dict() for result in of_name] for name, of_name in variants.items()},
        }
        Path(options.json).write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return int(any(result.outcome in INCOMPLETE for result in results))


def _examine(options: argparse.Namespace, variant: str, *, held_out: bool) -> list[Examination]:
    """The results for the chosen entries, printed as they come to a terminal, and failures anywhere."""
    from tools.architectures.shrink import entries

    names = [f"{entry.mapping}:{entry.model_type}" for entry in entries(held_out=held_out)]
    if options.only:
        chosen = [name for name in names if name in options.only or name.partition(":")[2] in options.only]
        if not chosen:
            _parser().error(f"--only {' '.join(options.only)}: no such model type among {len(names)} entries")
        names = chosen
    count = 0

    def report(result: Examination) -> None:
        nonlocal count
        count += 1
        if sys.stderr.isatty() or result.outcome in INCOMPLETE:
            line = f"[{count}/{len(names)}] {result.mapping} {result.model_type}: {result.outcome} {result.reason}"
            print(line, file=sys.stderr)

    return examine_all(names, variant, processes=options.processes, limit=options.limit, on_result=report)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.architectures", description=__doc__)
    add = parser.add_argument
    add("--out", metavar="FILE", help="file for the table, in Markdown")
    add("--json", metavar="FILE", help="file for all results, in JSON")
    add("--variant", default="default", choices=VARIANTS, help="variant of the tiny models (default: default)")
    add("--only", nargs="+", metavar="TYPE", help="only these model types")
    add("--held-out", action="store_true", help="image-text models that are in none of the mappings")
    add("--everything", action="store_true", help="all variants and the held-out models too, below the table")
    add("--processes", type=int, default=2, metavar="N", help="number of processes (default: 2)")
    add("--limit", type=float, default=120.0, metavar="SECONDS", help="time for one architecture (default: 120)")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
