"""``python -m tools.architectures``: look for neurons in every architecture of the installed transformers."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tools.architectures.table import markdown, sentence
from tools.architectures.workers import examine_all


def main(argv: list[str] | None = None) -> int:
    """Run the command. 1 if an entry is partial or failed, so that a library upgrade can be gated on it."""
    options = _parser().parse_args(argv)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from tools.architectures.examine import VARIANTS

    if options.variant not in VARIANTS:
        _parser().error(f"--variant {options.variant}: there are {', '.join(VARIANTS)}")
    results = _examined(options, options.variant, held_out=options.held_out)
    print(sentence(results))
    others = {}
    if options.everything:
        chosen = [(name, False) for name in VARIANTS if name != options.variant] + [("image-text", True)]
        for name, held_out in chosen:
            others[name] = _examined(options, options.variant if held_out else name, held_out=held_out)
            print(f"{name}: {sentence(others[name])}")
    versions = {name: version(name) for name in ("transformers", "torch")} | {"python": platform.python_version()}
    command = " ".join(["python -m tools.architectures", *(sys.argv[1:] if argv is None else argv)])
    if options.out:
        Path(options.out).write_text(markdown(results, command, versions, others), encoding="utf-8")
    if options.json:
        kept = {"versions": versions, "variant": options.variant, "results": results, "others": others}
        Path(options.json).write_text(json.dumps(kept, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return int(any(result["outcome"] in ("partial", "failed") for result in results))


def _examined(options: argparse.Namespace, variant: str, *, held_out: bool) -> list[dict[str, Any]]:
    from tools.architectures.shrink import entries

    every = entries(held_out=held_out)
    names = [f"{entry.mapping}:{entry.model_type}" for entry in every]
    if options.only:
        names = [name for name in names if name in options.only or name.partition(":")[2] in options.only]
        if not names:
            _parser().error(f"--only {' '.join(options.only)}: no such model type; there are {len(every)}")
    count = 0

    def done(result: dict[str, Any]) -> None:
        nonlocal count
        count += 1
        if sys.stderr.isatty() or result["outcome"] in ("partial", "failed"):
            what = f"{result['mapping']} {result['model_type']}: {result['outcome']} {result.get('reason', '')}"
            print(f"[{count}/{len(names)}] {what}", file=sys.stderr)

    return examine_all(names, variant, processes=options.processes, limit=options.limit, done=done)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.architectures", description=__doc__)
    parser.add_argument("--out", metavar="FILE", help="write the table here (Markdown)")
    parser.add_argument("--json", metavar="FILE", help="write everything that was found here")
    parser.add_argument(
        "--variant",
        default="default",
        metavar="NAME",
        help="what the tiny models are like: default, equal, wide-heads, bfloat16, grouped_mm or batched_mm",
    )
    parser.add_argument("--only", nargs="+", metavar="TYPE", help="these model types only")
    parser.add_argument("--held-out", action="store_true", help="image-text models that are in none of the mappings")
    parser.add_argument("--everything", action="store_true", help="all variants and what was held out, after the table")
    parser.add_argument("--processes", type=int, default=2, metavar="N", help="processes side by side (default: 2)")
    parser.add_argument("--limit", type=float, default=120.0, metavar="SECONDS", help="time for one architecture")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
