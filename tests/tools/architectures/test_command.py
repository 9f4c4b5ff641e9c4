"""The command ``python -m tools.architectures`` and the processes in which it examines architectures."""

import json
import sys

import pytest

from tools.architectures.__main__ import main
from tools.architectures.examination import Examination
from tools.architectures.table import count_outcomes, render_table, summarise
from tools.architectures.workers import examine_all


@pytest.mark.slow
def test_the_command_writes_a_table_and_json_and_prints_counts(tmp_path, capsys):
    table, results = tmp_path / "table.md", tmp_path / "all.json"
    chosen = ["--only", "gpt2", "mamba", "seq2seq:t5", "--out", str(table), "--json", str(results)]
    assert main([*chosen, "--processes", "1"]) == 0
    counts = "3 entries, 3 built, 2 with an MLP: 2 complete and verified, 0 partial, 0 failed"
    assert capsys.readouterr().out.startswith(counts)
    assert "| causal | gpt2 | complete | 2 | plain | gelu_new |" in table.read_text(encoding="utf-8")
    content = json.loads(results.read_text(encoding="utf-8"))
    assert {result["model_type"] for result in content["results"]} == {"gpt2", "mamba", "t5"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--only", "gpt5"], "--only gpt5: no such model type among "),
        (["--variant", "huge"], "argument --variant: invalid choice: 'huge' (choose from"),
    ],
)
def test_an_unknown_type_or_variant_is_refused(arguments, words, capsys):
    with pytest.raises(SystemExit):
        main(arguments)
    assert words in capsys.readouterr().err


DIES = "import sys; sys.stdin.readline(); sys.exit(7)"
HANGS = "import sys; sys.stdin.read()"
ANSWERS = """
import json, sys
for line in sys.stdin:
    if "bad" in line: sys.exit(3)
    mapping, model_type = line.strip().split(":")
    print(json.dumps({"mapping": mapping, "model_type": model_type, "outcome": "complete"}), flush=True)
"""


def examine_with(code, names=("causal:one",), limit=60.0):
    return examine_all(names, "default", processes=1, limit=limit, command=[sys.executable, "-c", code])


def test_a_process_that_dies_costs_one_entry_and_reports_its_status():
    first, second, third = examine_with(ANSWERS, ("causal:one", "causal:bad", "causal:three"))
    assert [first.outcome, third.outcome] == ["complete", "complete"]
    assert (second.outcome, second.reason) == ("failed", "the process ended with status 3")
    (alone,) = examine_with(DIES)
    assert alone.reason == "the process ended with status 7"


def test_a_process_that_hangs_is_stopped_at_the_limit():
    (result,) = examine_with(HANGS, limit=0.25)
    assert (result.outcome, result.reason) == ("failed", "no answer within 0.25 seconds")


def test_counts_of_outcomes_add_up_to_all_entries():
    outcomes = ["complete"] * 3 + ["failed", "not built", "no MLP neurons"]
    results = [Examination("causal", str(number), outcome) for number, outcome in enumerate(outcomes)]
    assert sum(count_outcomes(results).values()) == len(results)
    assert summarise(results) == (
        "6 entries, 5 built, 4 with an MLP: 3 complete and verified, 0 partial, 1 failed; 1 without MLP neurons"
    )
    assert render_table(results, "command", {"torch": "2"}).count("\n| causal |") == 6
