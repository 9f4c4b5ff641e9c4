"""The paper's published neurons, read from a checkout of its repository (wesg52/universal-neurons)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_unineuron.errors import FindingsError

if TYPE_CHECKING:
    from pathlib import Path

    import pandas

WHERE = "dataframes/interpretable_neurons"
MEANS = {"mean input bias": "input_bias", "mean skew": "skew", "mean kurtosis": "kurt"}
"""What is reported of the universal neurons, and the column it is the mean of."""


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
