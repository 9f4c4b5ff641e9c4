"""``python -m benchmarks``: measure the costs of the plugin and compare them with lower bounds and other libraries."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.peers import environment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.result import BenchmarkResult

REPEATS = {"sweep": 9, "correlation": 3, "products": 5, "peers": 3, "memory": 2, "startup": 30, "evals": 1, "growth": 3}
"""All benchmarks, in the order in which they run, and how many times each variant is measured by default."""
DEFAULT_BENCHMARKS = ("sweep", "correlation", "products", "memory", "startup", "growth")
"""Benchmarks that run without --only; --peers adds the peers."""
RESULT_ORDER = (
    *("sweep", "correlation", "products", "peers_sweep", "peers_correlation"),
    *("memory", "startup", "evals", "growth"),
)
"""The results in the order of RESULTS.md."""
SIZES = {"layers": 6, "width": 384, "neurons": 0, "vocabulary": 8192, "context": 256, "rows": 8}
PATH_OPTIONS = ("out", "envs")
"""Options that hold paths on this machine, which are not published."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the chosen benchmarks and write their results."""
    parser = make_parser()
    options = parser.parse_args(argv)
    chosen = options.only.split(",") if options.only else [*DEFAULT_BENCHMARKS, *["peers"] * options.peers]
    if unknown := [name for name in chosen if name not in REPEATS]:
        parser.error(f"--only {','.join(unknown)}: no such benchmark; choose from {', '.join(REPEATS)}")
    from pytest_unineuron.system import process

    process.configure(options.threads)  # before torch is imported
    from benchmarks import machine, results_file

    for name in (name for name in REPEATS if name in chosen):
        start = time.monotonic()
        results = _run(name, options, options.repeats or REPEATS[name])
        provenance = machine.provenance(command_line(parser, options), options.threads, options.device)
        results_file.write_results(options.out, results, provenance, RESULT_ORDER)
        for result in results:
            print(results_file.render_result(result.as_dict() | {"provenance": provenance}), flush=True)
        print(f"{name}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    return 0


def _run(name: str, options: argparse.Namespace, repeats: int) -> list[BenchmarkResult]:
    """Run one benchmark. Imports torch."""
    from benchmarks import correlation, evals, growth, memory, peer_comparison, products, startup, sweep
    from benchmarks.workload import Workload

    workload = Workload(**{field: getattr(options, field) for field in SIZES}, device=options.device)
    batches = options.batches
    envs = options.envs if options.peers else None
    benchmarks: dict[str, Callable[[], list[BenchmarkResult]]] = {
        "sweep": lambda: [sweep.run(workload, batches, repeats)],
        "correlation": lambda: [correlation.run(workload, batches, repeats)],
        "products": lambda: [products.run(workload, repeats)],
        "peers": lambda: peer_comparison.run(workload, batches, repeats, options.threads, envs),
        "memory": lambda: [memory.run(workload, batches, repeats)],
        "startup": lambda: [startup.run(repeats)],
        "evals": lambda: [evals.run(repeats)],
        "growth": lambda: [growth.run(workload, repeats)],
    }
    return benchmarks[name]()


def command_line(parser: argparse.ArgumentParser, options: argparse.Namespace) -> str:
    """The command that runs the same benchmarks, without paths on this machine."""
    words = ["python -m benchmarks"]
    for name, value in vars(options).items():
        if name not in PATH_OPTIONS and value != parser.get_default(name):
            words += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    return " ".join(words)


def make_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add = parser.add_argument
    names, default_names = ", ".join(REPEATS), ", ".join(DEFAULT_BENCHMARKS)
    add("--only", default="", metavar="NAME,…", help=f"benchmarks to run, of {names} (default: {default_names})")
    add(
        "--peers",
        action="store_true",
        help="compare with TransformerLens and nnsight too; each is installed with pip into an environment of its own, "
        "of about 1 GB, the first time",
    )
    add(
        "--envs",
        type=Path,
        default=environment.default_folder(),
        metavar="FOLDER",
        help="folder of these environments (default: in the user's cache)",
    )
    add(
        "--out",
        type=Path,
        default=Path(__file__).parent,
        metavar="FOLDER",
        help="folder of RESULTS.md and results.json; results of benchmarks that do not run stay (default: benchmarks)",
    )
    repeats = ", ".join(f"{name} {count}" for name, count in REPEATS.items())
    add("--repeats", type=int, default=0, metavar="N", help=f"times that each variant is measured (default: {repeats})")
    add("--threads", type=int, default=2, metavar="N", help="CPU threads of a process (default: 2)")
    add("--device", default="cpu", help="device of sweep, correlation and growth (default: cpu)")
    add("--batches", type=int, default=4, metavar="N", help="batches of a forward pass (default: 4)")
    for name, value in SIZES.items():
        more = "; per layer, 0 for four times the width" if name == "neurons" else ""
        add(f"--{name}", type=int, default=value, metavar="N", help=f"size of the model (default: {value}{more})")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
