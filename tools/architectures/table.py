"""What was found, as a table for people and for the repository."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

OUTCOMES = ("complete", "partial", "no MLP neurons", "failed", "not built")
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


def counts(results: Sequence[dict[str, Any]]) -> dict[str, int]:
    """How many entries had which outcome."""
    found = Counter(result["outcome"] for result in results)
    return {outcome: found[outcome] for outcome in OUTCOMES}


def sentence(results: Sequence[dict[str, Any]]) -> str:
    """The counts in one line."""
    found = counts(results)
    built = len(results) - found["not built"]
    return (
        f"{len(results)} entries, {built} built, {built - found['no MLP neurons']} with an MLP: "
        f"{found['complete']} complete and verified, {found['partial']} partial, {found['failed']} failed; "
        f"{found['no MLP neurons']} without MLP neurons"
    )


def markdown(
    results: Sequence[dict[str, Any]],
    command: str,
    versions: dict[str, str],
    others: dict[str, list[dict[str, Any]]] | None = None,
) -> str:
    """The whole table. ``command`` is what made it; of ``others``, by variant, the counts and what failed."""
    lines = [
        "# Where neurons are found",
        "",
        f"Made by `{command}` with " + ", ".join(f"{name} {version}" for name, version in versions.items()) + ".",
        "",
        sentence(results) + ".",
        "",
        "A tiny random model of every architecture is built and traced. *Complete* means that the neuron layers "
        "found are exactly those that its distinctive widths give away, and that every identity holds. *Folded* is "
        "by how much log-probabilities move on folded weights, relative to the largest; *heads* counts heads whose "
        "query, key, value and output weights were all found.",
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "|---" * len(COLUMNS) + "|",
    ]
    lines += [_row(result) for result in sorted(results, key=lambda r: (r["mapping"], r["model_type"]))]
    if others:
        lines += ["", "## Other sizes, precisions and kernels, and models that were held out", ""]
        lines += [_variant(name, of) for name, of in others.items()]
    return "\n".join(lines) + "\n"


def _variant(name: str, results: Sequence[dict[str, Any]]) -> str:
    bad = [r for r in results if r["outcome"] in ("partial", "failed")]
    why = "; ".join(f"{r['mapping']} {r['model_type']}: {r.get('reason') or 'other layers'}" for r in bad)
    return f"- **{name}**: {sentence(results)}." + (f" Not complete: {why}." if why else "")


def _row(result: dict[str, Any]) -> str:
    folded = result.get("folded")
    remark = result.get("reason") or result.get("obstacle") or ""
    if result.get("missing") or result.get("extra"):
        remark = f"missing {result['missing'][:2]}, extra {result['extra'][:2]}"
    if result.get("same") is False:
        remark = (remark + "; other bits while watched").lstrip("; ")
    if result.get("early") is False:
        remark = (remark + "; other bits in a pass that ends early").lstrip("; ")
    cells = [
        result["mapping"],
        result["model_type"],
        result["outcome"],
        f"{result.get('sites', 0)}{' (experts)' if result.get('experts') else ''}" if result.get("sites") else "",
        ", ".join(result.get("layouts", ())),
        ", ".join(result.get("activations", ())),
        ", ".join(f"`{path}`" for path in result.get("down", ())[:3]),
        "" if folded is None else f"{folded:.0e}",
        str(result.get("heads") or ""),
        remark,
    ]
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"
