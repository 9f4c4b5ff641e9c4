"""The coverage command, as anyone would run it."""

import json
import subprocess
import sys

import pytest

from tools.architectures.__main__ import main
from tools.architectures.table import counts, markdown, sentence
from tools.architectures.workers import examine_all


def test_a_few_architectures(tmp_path):
    """The table, the JSON and the counts."""
    table, kept = tmp_path / "table.md", tmp_path / "all.json"
    chosen = ["--only", "gpt2", "mamba", "seq2seq:t5", "--out", str(table), "--json", str(kept)]
    command = [sys.executable, "-m", "tools.architectures", *chosen, "--processes", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("3 entries, 3 built, 2 with an MLP: 2 complete and verified, 0 partial, 0 failed")
    assert "| causal | gpt2 | complete | 2 | plain | gelu_new |" in table.read_text(encoding="utf-8")
    assert {r["model_type"] for r in json.loads(kept.read_text(encoding="utf-8"))["results"]} == {"gpt2", "mamba", "t5"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--only", "gpt5"], "--only gpt5: no such model type; there are "),
        (["--variant", "huge"], "--variant huge: there are default, equal"),
    ],
)
def test_nonsense_is_a_sentence(arguments, words, capsys):
    """A type or a variant that there is not."""
    with pytest.raises(SystemExit):
        main(arguments)
    assert words in capsys.readouterr().err


DIES = "import sys; sys.stdin.readline(); sys.exit(7)"
HANGS = "import sys, time; sys.stdin.readline(); time.sleep(600)"
ANSWERS = """
import json, sys
for line in sys.stdin:
    if "bad" in line: sys.exit(3)
    print(json.dumps({"model_type": line.strip().split(":")[1], "outcome": "complete"}), flush=True)
"""


def examined(code, names=("causal:one",), limit=60.0):
    return examine_all(names, "default", processes=1, limit=limit, command=[sys.executable, "-c", code])


def test_a_process_that_dies_costs_one_entry():
    """And says with which status."""
    first, second, third = examined(ANSWERS, ("causal:one", "causal:bad", "causal:three"))
    assert [first["outcome"], third["outcome"]] == ["complete", "complete"]
    assert (second["outcome"], second["reason"]) == ("failed", "the process ended with status 3")
    (alone,) = examined(DIES)
    assert alone["reason"] == "the process ended with status 7"


def test_a_process_that_hangs_is_stopped():
    """After its time."""
    (found,) = examined(HANGS, limit=1.0)
    assert (found["outcome"], found["reason"]) == ("failed", "no answer within 1 seconds")


def test_the_counts_add_up():
    """Whatever the outcomes."""
    outcomes = ["complete"] * 3 + ["failed", "not built", "no MLP neurons"]
    results = [{"mapping": "causal", "model_type": str(i), "outcome": o} for i, o in enumerate(outcomes)]
    assert sum(counts(results).values()) == len(results)
    assert sentence(results) == (
        "6 entries, 5 built, 4 with an MLP: 3 complete and verified, 0 partial, 1 failed; 1 without MLP neurons"
    )
    assert markdown(results, "command", {"torch": "2"}).count("\n| causal |") == 6
