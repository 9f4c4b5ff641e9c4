"""The paper's published neurons, read from a checkout of its repository (wesg52/universal-neurons)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_unineuron.errors import FindingsError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas

    from pytest_unineuron.models.loading.source import Source

WHERE = "dataframes/interpretable_neurons"
MEANS = {"mean input bias": "input_bias", "mean skew": "skew", "mean kurtosis": "kurt"}
"""What is reported of the universal neurons, and the column it is the mean of."""


PUBLISHED = {
    "stanford-crfm/alias-gpt2-small-x21": "stanford-gpt2-small-a",
    "stanford-crfm/arwen-gpt2-medium-x21": "stanford-gpt2-medium-a",
    "EleutherAI/pythia-160m": "pythia-160m",
}
"""Models of the hub and the name of their tables. A local folder of that name is taken for the model too."""


def table(checkout: Path, source: Source) -> Path | None:
    """The table of a model's universal neurons, or None if none was published."""
    name = source.folder.resolve().name if source.folder else PUBLISHED.get(source.hub, "")
    path = checkout / WHERE / name / "universal.csv"
    return path if name and not source.untrained and path.exists() else None


def universal(path: Path, widths: Sequence[tuple[int, int]]) -> list[int]:
    """The places of the published neurons among all neurons of a model.

    ``widths`` are the number and the size of each of its layers, in order. Raises FindingsError for a neuron
    that the model does not have.
    """
    starts, total = {}, 0
    for layer, width in widths:
        starts[layer] = (total, width)
        total += width
    rows = _table(path, ["layer", "neuron"])
    places = []
    for layer, neuron in zip(rows["layer"].astype(int), rows["neuron"].astype(int), strict=True):
        start, width = starts.get(layer, (0, 0))
        if not 0 <= neuron < width:
            sizes = sorted({size for _, size in widths})
            raise FindingsError(
                f"{path}: neuron {neuron} of layer {layer} is not in the model, which has {len(widths)} layers of "
                f"{' or '.join(map(str, sizes))} neurons; are these the tables of another model?"
            )
        places.append(start + neuron)
    return places


def read(checkout: Path) -> dict[str, dict[str, float]]:
    """For every studied model: how many universal and prediction neurons were published, and their means.

    ``universal`` counts the rows of ``universal.csv``, ``prediction`` those of ``prediction_neurons.csv``
    (absent where the paper has none). Raises FindingsError naming the file, and the column where one is
    missing or holds something that is not a number.
    """
    folder = checkout / WHERE
    if not folder.is_dir():
        raise FindingsError(
            f"--unineuron-findings={checkout}: there is no folder {WHERE}; give a checkout of the paper's repository"
        )
    found = {path.name: _model(path) for path in sorted(folder.iterdir()) if path.is_dir()}
    if not found:
        raise FindingsError(f"--unineuron-findings={checkout}: {WHERE} holds no model's tables")
    return found


def _model(folder: Path) -> dict[str, float]:
    universal = _table(folder / "universal.csv", ["layer", "neuron", *MEANS.values()])
    facts: dict[str, float] = {"universal": len(universal)}
    prediction = folder / "prediction_neurons.csv"
    if prediction.exists():
        facts["prediction"] = len(_table(prediction, ["layer", "neuron"]))
    return facts | {name: round(float(universal[column].mean()), 4) for name, column in MEANS.items()}


def _table(path: Path, columns: list[str]) -> pandas.DataFrame:
    """A table whose ``columns`` are all there and all numbers."""
    import pandas

    try:
        table = pandas.read_csv(path)
    except FileNotFoundError:
        raise FindingsError(f"{path}: no such file; the checkout is not complete") from None
    except (OSError, ValueError) as error:
        raise FindingsError(f"{path}: not a table: {(str(error).splitlines() or [''])[0]}") from None
    for column in columns:
        if column not in table:
            raise FindingsError(f"{path}: column {column!r} is missing (found: {', '.join(map(str, table.columns))})")
        numbers = pandas.to_numeric(table[column], errors="coerce")
        if numbers.isna().any():
            row = int(numbers.isna().to_numpy().argmax())
            found = "nothing" if pandas.isna(table[column][row]) else repr(table[column][row])
            raise FindingsError(f"{path}: column {column!r}, row {row + 1}: {found} is not a number")
        table[column] = numbers
    if table.empty:
        raise FindingsError(f"{path}: the table has no rows")
    return table
