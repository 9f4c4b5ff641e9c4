"""The example notebook in docs/, whose cells are executed."""

import ast
import json
from pathlib import Path

import pandas as pd
import pytest

from pytest_unineuron.study.neuron import Neuron

NOTEBOOK = Path(__file__).parents[2] / "docs" / "neurons.ipynb"


@pytest.mark.slow
def test_every_cell_runs_and_shows_what_it_says(tmp_path, monkeypatch):
    """The last line of every cell but the first is a table or a card, which Jupyter shows."""
    monkeypatch.chdir(tmp_path)
    names, shown = {}, []
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            *body, last = ast.parse("".join(cell["source"])).body
            exec(compile(ast.Module(body, []), "cell", "exec"), names)
            if isinstance(last, ast.Expr):
                shown.append(eval(compile(ast.Expression(last.value), "cell", "eval"), names))
            else:
                exec(compile(ast.Module([last], []), "cell", "exec"), names)
    *tables, card = shown
    assert [type(table) for table in tables] == [pd.DataFrame] * 4
    assert isinstance(card, Neuron)
    assert len(tables[1]) == 20
    assert set(tables[1]["layer"]) == {2}
