"""``pytest-unineuron plan``: the cost of a comparison, without running it."""

import json
import subprocess
import sys

import pytest

from pytest_unineuron.cli.main import main
from pytest_unineuron.models.loading.load import load_model
from pytest_unineuron.models.loading.shape import model_shape
from pytest_unineuron.models.loading.source import parse_source

MEDIUM = ["--layers=24", "--width=1024", "--neurons=4096", "--vocabulary=50257", "--context=1024", "--rate=400e12"]


def plan(capsys, *arguments):
    assert main(["plan", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_gpt2_medium_with_five_seeds_at_a_hundred_million_tokens(capsys):
    """1.9e10 operations per token and pair of models, 1.9e18 in all. Half of the tokens are in the selection split."""
    found = plan(capsys, *MEDIUM, "--seeds=5", "--tokens=1e8", "--memory=64")
    assert found["units"]["neurons"] == 98_304
    each = found["neurons_per_token_and_pair"]
    assert each == pytest.approx(1.9e10, rel=0.02)
    assert each * found["tokens"] == pytest.approx(1.9e18, rel=0.02)
    assert found["operations"]["product"] == pytest.approx(5 * 0.5 * 1.9e18 * (1 + 1 / 16), rel=0.03)
    assert found["bytes"]["product"] == pytest.approx(5 * 38.7e9 * (1 + 1 / 16), rel=0.01)
    assert found["bytes"]["within"] == pytest.approx(5 * 24 * 4 * (4096**2 + 1024**2), rel=0.01)
    assert found["blocks"] == 5
    assert found["seconds"]["product"] == found["operations"]["product"] / 400e12
    assert found["bytes"]["peak"] <= found["bytes"]["weights"] + 64 * 2**30


def test_a_plan_is_shown_as_a_table(capsys):
    """It has the formulas in words, fits 80 columns, and says whether the comparison fits into memory."""
    assert main(["plan", *MEDIUM, "--seeds=5", "--tokens=1e8", "--memory=64", "--device-memory=60"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    text = " ".join(" ".join(lines).split())
    assert "5 seeds on a text of 100,000,000 tokens, compared at 100,000,000 units" in text
    for row in (
        "products 1.93e+10 FLOP 2 × neurons × neurons of a seed, per token and seed",
        "blocks 5 blocks of products within 64 GiB; activations recomputed for each block",
        "device does not fit has 60 GiB",
    ):
        assert row in text


@pytest.mark.parametrize("name", ["nano:neox-a", "nano:gpt2-a"])
def test_the_shape_is_that_of_the_loaded_model(capsys, name):
    """It is read from config.json. The number of weights leaves out biases, norms and positions."""
    found = plan(capsys, name, "--rate=1e11")
    model = load_model(parse_source(name)).model
    matrices = sum(p.numel() for name, p in model.named_parameters() if p.dim() == 2 and "wpe" not in name)
    assert model_shape(parse_source(name)).weights == matrices
    assert found["seeds"] == 2
    assert (found["tokens"], found["compared"], found["blocks"]) == (44_000, 20_000, 1)
    assert found["forward_passes"] == 3


def test_a_configuration_is_enough_for_a_plan(capsys, tmp_path):
    """A folder needs no weights and no tokenizer. Options override its configuration."""
    written = {
        "model_type": "llama",
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "intermediate_size": 96,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 100,
        "max_position_embeddings": 32,
        "tie_word_embeddings": False,
    }
    (tmp_path / "config.json").write_text(json.dumps(written))
    found = plan(capsys, str(tmp_path), "--seeds=1", "--rate=1e11")
    layer = 64 * (64 + 64 + 32 + 32) + 3 * 64 * 96
    assert found["bytes"]["weights"] == 2 * 4 * (2 * layer + 2 * 100 * 64)
    assert plan(capsys, str(tmp_path), "--seeds=1", "--rate=1e11", "--layers=4")["shape"]["layers"] == 4


def test_a_plan_with_less_memory_has_more_blocks(capsys):
    """For each further block the selection split is read again."""
    found = [plan(capsys, *MEDIUM, "--seeds=1", f"--memory={memory}") for memory in (100, 30, 8)]
    assert [each["blocks"] for each in found] == [1, 2, 6]
    assert [each["operations"]["product"] for each in found] == [found[0]["operations"]["product"]] * 3
    assert found[0]["forward_passes"] == 2
    assert found[2]["forward_passes"] > found[1]["forward_passes"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--layers=2"], "plan: of what? give MODEL, or its shape by hand; --width, --neurons missing"),
        ([*MEDIUM, "--seeds=none"], "--seeds=none: give a number above 0, at most 10000"),
        ([*MEDIUM, "--seeds=1e9"], "--seeds=1e9: give a number above 0, at most 10000"),
        ([*MEDIUM, "--width=1e200"], "--width=1e200: give a number above 0, at most 1e+18"),
        ([*MEDIUM, "--memory=0.5"], "--unineuron-memory: comparing units with 1 seeds has 0.5 GiB to work in"),
        ([*MEDIUM, "--tokens=0.5"], "--tokens=0.5: give a whole number, such as 1e6"),
        ([*MEDIUM, "--heads=1.5"], "--heads=1.5: give a whole number, such as 1e6"),
        (["nano:gpt9"], "there is no such nano model"),
        (["nobody/nothing"], "its config.json is not here and cannot be fetched"),
    ],
)
def test_a_plan_of_nothing_or_of_an_unknown_model_is_an_error(capsys, arguments, message):
    """The message says what to type."""
    assert main(["plan", *arguments]) != 0
    assert message in capsys.readouterr().err


def test_a_plan_with_a_given_rate_imports_nothing_heavy():
    """PyTorch is needed only to measure the speed of this machine."""
    code = (
        "import sys; from pytest_unineuron.cli.main import main; main(['plan', 'nano:neox-a', '--rate=1e12']); "
        "print('HEAVY', *[name for name in ('torch', 'transformers', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "HEAVY"


def test_the_rate_is_measured(capsys):
    """Without --rate, the speed of this machine is measured with a short product."""
    assert 1e8 < plan(capsys, "nano:neox-a")["rate"] < 1e16
