"""The paper's tables of its neurons, read from a checkout of its repository (wesg52/universal-neurons)."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from pytest_unineuron.errors import FindingsError, NotApplicable, first_line
from pytest_unineuron.models.registry import published_table
from pytest_unineuron.system.paths import did_you_mean_path, is_folder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    import pandas
    from numpy.typing import NDArray

    from pytest_unineuron.models.loading.source import Source

TABLES_FOLDER = "dataframes/interpretable_neurons"
EXCESS = "excess_corr"
"""The column of the excess correlation, which not every table has."""
COSINE = "in_out_sim"
"""The column of the cosine of what a neuron reads and writes, by which the weights are known. Small tables lack it."""
SAME_WEIGHTS = 0.9
"""The correlation of published cosines with those of the same weights is 1 but for rounding; of others it is near 0."""
MEANS = {"mean input bias": "input_bias", "mean skew": "skew", "mean kurtosis": "kurt"}
"""The means over the universal neurons that are reported, and the column of each."""


def universal_table(checkout: Path, source: Source) -> Path | None:
    """The table of a model's universal neurons, or None if the checkout has none."""
    name = published_table(source)
    path = checkout / TABLES_FOLDER / name / "universal.csv"
    return path if name and path.exists() else None


def universal_neurons(table: Path, widths: Sequence[tuple[int, int]]) -> pandas.DataFrame:
    """The rows of the published universal neurons, by their positions among all neurons of a model, layer after layer.

    ``widths`` are the number and the width of each of the model's layers, in order. Raises FindingsError for a
    neuron that the model does not have.
    """
    starts = accumulate((width for _, width in widths), initial=0)
    layers = {layer: (start, width) for (layer, width), start in zip(widths, starts, strict=False)}
    rows = _read_table(table, ["layer", "neuron", "skew"], [EXCESS, COSINE])
    positions = []
    for layer, neuron in zip(rows["layer"].astype(int), rows["neuron"].astype(int), strict=True):
        start, width = layers.get(layer, (0, 0))
        if not 0 <= neuron < width:
            sizes = sorted({size for _, size in widths})
            raise FindingsError(
                f"{table}: neuron {neuron} of layer {layer} is not in the model, which has {len(widths)} layers of "
                f"{' or '.join(map(str, sizes))} neurons; are these the tables of another model?"
            )
        positions.append(start + neuron)
    return rows.set_axis(positions).loc[lambda table: ~table.index.duplicated()]


def check_weights(table: Path, rows: pandas.DataFrame, cosines: NDArray[np.float64]) -> None:
    """Raise NotApplicable if a table is not of the weights of a model, whatever its name is.

    ``rows`` are those of ``universal_neurons``, and ``cosines`` [neuron] those of the model. A table of fewer than
    three neurons, or without the column, cannot be checked.
    """
    import numpy as np

    if COSINE not in rows or len(rows) < 3:
        return
    found = float(np.corrcoef(rows[COSINE], cosines[rows.index])[0, 1])
    if not found >= SAME_WEIGHTS:
        raise NotApplicable(
            f"{table} is not of these weights: its {COSINE} and the cosines of the model correlate by {found:.2f}; "
            "name the model that the table is of, or another revision"
        )


def original_findings(checkout: Path) -> dict[str, dict[str, float]]:
    """The number of published universal and prediction neurons of every studied model, and the means of the former.

    ``universal`` counts the rows of ``universal.csv``, ``prediction`` those of ``prediction_neurons.csv`` (absent
    for a model without such a table). Raises FindingsError, which names the file and the column, for a table
    that is missing or has a value that is not a number.
    """
    folder = checkout / TABLES_FOLDER
    try:
        inside = sorted(folder.iterdir())
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not is_folder(checkout):
            raise FindingsError(
                f"--unineuron-findings={checkout}: there is no such folder; give a checkout of the paper's repository"
                f"{did_you_mean_path(checkout)}"
            ) from None
        raise FindingsError(
            f"--unineuron-findings={checkout}: there is no folder {TABLES_FOLDER} ({error.strerror}); give a checkout "
            "of the paper's repository"
        ) from None
    found = {path.name: _findings_of(path) for path in inside if path.is_dir()}
    if not found:
        raise FindingsError(f"--unineuron-findings={checkout}: {TABLES_FOLDER} holds no model's tables")
    return found


def _findings_of(folder: Path) -> dict[str, float]:
    universal = _read_table(folder / "universal.csv", ["layer", "neuron", *MEANS.values()])
    findings: dict[str, float] = {"universal": len(universal)}
    prediction = folder / "prediction_neurons.csv"
    if prediction.exists():
        findings["prediction"] = len(_read_table(prediction, ["layer", "neuron"]))
    return findings | {name: round(float(universal[column].mean()), 4) for name, column in MEANS.items()}


def _read_table(path: Path, columns: list[str], optional: Sequence[str] = ()) -> pandas.DataFrame:
    """A table with numbers in all of ``columns``, and in those ``optional`` ones that it has.

    Raises FindingsError for any other file.
    """
    import pandas

    try:
        table = pandas.read_csv(path)
    except FileNotFoundError:
        raise FindingsError(f"{path}: no such file; the checkout is not complete") from None
    except (OSError, ValueError) as error:
        raise FindingsError(f"{path}: not a table: {first_line(error)}") from None
    for column in [*columns, *(name for name in optional if name in table)]:
        if column not in table:
            raise FindingsError(f"{path}: column {column!r} is missing (found: {', '.join(map(str, table.columns))})")
        table[column] = _numbers(path, table[column])
    if table.empty:
        raise FindingsError(f"{path}: the table has no rows")
    return table


def _numbers(path: Path, column: pandas.Series) -> pandas.Series:
    import pandas

    numbers = pandas.to_numeric(column, errors="coerce")
    if numbers.isna().any():
        row = int(numbers.isna().to_numpy().argmax())
        found = "nothing" if pandas.isna(column[row]) else repr(column[row])
        raise FindingsError(f"{path}: column {column.name!r}, row {row + 1}: {found} is not a number")
    return numbers
