"""``python -m benchmarks``: what measuring costs, against what it cannot do without."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.peers import environment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.answer import Answer

QUESTIONS = ("sweep", "correlation", "products", "peers", "memory", "startup", "evals", "growth")
USUAL = ("sweep", "correlation", "products", "memory", "startup", "growth")
"""What is asked unless something else is; with --peers, these and the peers."""
ORDER = ("sweep", "correlation", "products", "peers_sweep", "peers_correlation", "memory", "startup", "evals", "growth")
"""Of the tables."""
TURNS = {"sweep": 9, "correlation": 3, "products": 5, "peers": 3, "memory": 2, "startup": 30, "evals": 1, "growth": 3}
"""How often everything has its turn."""
SHAPE = {"layers": 6, "width": 384, "neurons": 0, "vocabulary": 8192, "context": 256, "rows": 8}
PRIVATE = ("out", "envs")
"""Options that name places on this machine."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = _parser()
    options = parser.parse_args(argv)
    asked = tuple(options.only.split(",")) if options.only else (*USUAL, *["peers"] * options.peers)
    if unknown := [name for name in asked if name not in QUESTIONS]:
        parser.error(f"--only {','.join(unknown)}: there are {', '.join(QUESTIONS)}")
    from pytest_unineuron.system import process

    process.configure()  # before torch is imported
    import torch

    from benchmarks import machine, table

    torch.set_num_threads(options.threads)
    for name in (name for name in QUESTIONS if name in asked):
        began = time.monotonic()
        found = _ask(name, options, options.repeats or TURNS[name])
        made = machine.made(_command(parser, options), options.threads, options.device)
        table.write(options.out, found, made, ORDER)
        for answer in found:
            print(table.section(answer.as_dict() | {"made": made}), flush=True)
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return 0


def _ask(name: str, options: argparse.Namespace, turns: int) -> list[Answer]:
    """The answers to one question. Nothing is imported before it is asked for."""
    from benchmarks import comparison, correlation, evals, growth, memory, products, startup, sweep, work

    shape = work.Shape(**{field: getattr(options, field) for field in SHAPE}, device=options.device)
    batches = options.batches
    questions: dict[str, Callable[[], list[Answer]]] = {
        "sweep": lambda: [sweep.answer(shape, batches, turns)],
        "correlation": lambda: [correlation.answer(shape, batches, turns)],
        "products": lambda: [products.answer(shape, turns)],
        "peers": lambda: comparison.answers(shape, batches, turns, options.threads, options.envs, options.peers),
        "memory": lambda: [memory.answer(shape, batches, turns)],
        "startup": lambda: [startup.answer(turns)],
        "evals": lambda: [evals.answer(turns)],
        "growth": lambda: [growth.answer(shape, turns)],
    }
    return questions[name]()


def _command(parser: argparse.ArgumentParser, options: argparse.Namespace) -> str:
    """What to type for the same, without places on this machine."""
    words = ["python -m benchmarks"]
    for name, value in vars(options).items():
        if name not in PRIVATE and value != parser.get_default(name):
            words += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    return " ".join(words)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only", default="", metavar="WHAT,…", help=f"of {', '.join(QUESTIONS)} (default: {', '.join(USUAL)})"
    )
    parser.add_argument(
        "--peers",
        action="store_true",
        help="TransformerLens and nnsight too, each in an environment "
        "that is made with pip when it is not there: about 1 GB each",
    )
    parser.add_argument(
        "--envs",
        type=Path,
        default=environment.default_folder(),
        metavar="FOLDER",
        help="where these environments are kept (default: below the user's cache)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(__file__).parent,
        metavar="FOLDER",
        help="where RESULTS.md and results.json go; answers to what is not asked this time stay (default: benchmarks)",
    )
    parser.add_argument(
        "--repeats",
        type=int,
        default=0,
        metavar="N",
        help="how often everything has its turn "
        "(default: by question, " + ", ".join(f"{k} {v}" for k, v in TURNS.items()) + ")",
    )
    parser.add_argument("--threads", type=int, default=2, metavar="N", help="threads of a process (default: 2)")
    parser.add_argument("--device", default="cpu", help="for sweep, correlation and growth (default: cpu)")
    parser.add_argument("--batches", type=int, default=4, metavar="N", help="batches of a pass (default: 4)")
    for name, value in SHAPE.items():
        more = "; of a layer, 0 is four times the width" * (name == "neurons")
        parser.add_argument(f"--{name}", type=int, default=value, metavar="N", help=f"default: {value}{more}")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
