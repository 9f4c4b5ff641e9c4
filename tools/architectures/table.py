"""The results as a Markdown table."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tools.architectures.examination import COMPLETE, FAILED, INCOMPLETE, NO_MLP, NOT_BUILT, OUTCOMES, PARTIAL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tools.architectures.examination import Examination

COLUMNS = (
    "mapping",
    "model type",
    "outcome",
    "layers",
    "layout",
    "activation",
    "output projection",
    "folded",
    "heads",
    "remark",
)
INTRODUCTION = (
    "A tiny random model of every architecture is built, and its neurons are found from the computation graph. "
    "*Complete* means that exactly those layers were found that have the widths of an MLP, which nothing else in a "
    "tiny model has, and that all identities hold. *Folded* is the largest change of a log-probability by folding "
    "norms into weights, relative to the largest log-probability. *Heads* counts the heads whose query, key, value and "
    "output weights were all found."
)


def count_outcomes(results: Sequence[Examination]) -> dict[str, int]:
    """The number of entries with each outcome."""
    found = Counter(result.outcome for result in results)
    return {outcome: found[outcome] for outcome in OUTCOMES}


def summarise(results: Sequence[Examination]) -> str:
    """The counts in one line."""
    counts = count_outcomes(results)
    built = len(results) - counts[NOT_BUILT]
    return (
        f"{len(results)} entries, {built} built, {built - counts[NO_MLP]} with an MLP: "
        f"{counts[COMPLETE]} complete and verified, {counts[PARTIAL]} partial, {counts[FAILED]} failed; "
        f"{counts[NO_MLP]} without MLP neurons"
    )


def render_table(
    results: Sequence[Examination],
    command: str,
    versions: Mapping[str, str],
    variants: Mapping[str, Sequence[Examination]] | None = None,
) -> str:
    """The text of TABLE.md: all results, then counts and failures of ``variants``, by name.

    ``command`` and ``versions`` are those that the results were made with.
    """
    lines = [
        "# Architectures whose neurons are found",
        "",
        f"Made by `{command}` with " + ", ".join(f"{name} {version}" for name, version in versions.items()) + ".",
        "",
        summarise(results) + ".",
        "",
        INTRODUCTION,
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "|---" * len(COLUMNS) + "|",
    ]
    lines += [_row(result) for result in sorted(results, key=lambda result: (result.mapping, result.model_type))]
    if variants:
        lines += ["", "## Other sizes, precisions and kernels, and held-out models", ""]
        lines += [_variant(name, of_variant) for name, of_variant in variants.items()]
    return "\n".join(lines) + "\n"


def _variant(name: str, results: Sequence[Examination]) -> str:
    reasons = [
        f"{result.mapping} {result.model_type}: {result.reason or 'other layers'}"
        for result in results
        if result.outcome in INCOMPLETE
    ]
    return f"- **{name}**: {summarise(results)}." + (f" Not complete: {'; '.join(reasons)}." if reasons else "")


def _row(result: Examination) -> str:
    cells = [
        result.mapping,
        result.model_type,
        result.outcome,
        f"{result.layers}{' (experts)' if result.experts else ''}" if result.layers else "",
        ", ".join(result.gate_layouts),
        ", ".join(result.activations),
        ", ".join(f"`{path}`" for path in result.projections[:3]),
        "" if result.folded is None else f"{result.folded:.0e}",
        str(result.heads or ""),
        _remark(result),
    ]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _remark(result: Examination) -> str:
    remarks = [result.reason or result.obstacle]
    if result.missing or result.extra:
        remarks = [f"missing {result.missing[:2]}, extra {result.extra[:2]}"]
    if result.same_recorded is False:
        remarks.append("other bits while projections are recorded")
    if result.same_stopped is False:
        remarks.append("other bits in a forward pass that stops early")
    return "; ".join(filter(None, remarks))
