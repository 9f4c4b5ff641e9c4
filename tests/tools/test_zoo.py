"""The models that ship, and the recipe that made them."""

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from pytest_unineuron import zoo
from pytest_unineuron.models.loading.load import load_model
from pytest_unineuron.models.loading.source import parse_source
from tools.zoo.recipe import Recipe, configuration, default_zoo
from tools.zoo.text import BOS, Reader, digest, split
from tools.zoo.train import learning_rate, main

SHIPPED = Path(zoo.__file__).parent / "models"
NAMES = [f"{family}-{letter}" for family in ("gpt2", "neox") for letter in "abc"]


def facts(name):
    return json.loads((SHIPPED / name / "recipe.json").read_text())


def test_six_models_ship_in_at_most_32_megabytes():
    """Three seeds of two architectures."""
    assert sorted(path.name for path in SHIPPED.iterdir() if path.is_dir()) == NAMES
    assert sum(path.stat().st_size for path in SHIPPED.rglob("*")) <= 32e6


@pytest.mark.parametrize("name", NAMES)
class TestShipped:
    """Each of the models that ship."""

    def test_the_card_says_how_it_was_made(self, name):
        """Recipe, tokens seen, held-out loss against the unigram entropy, and the digest of these weights."""
        found = facts(name)
        assert found["tokens"] >= 12_000_000
        assert found["held_out_loss"] < found["unigram_entropy"] - 1.5
        assert found["weights_sha256"] == digest(SHIPPED / name / "model.safetensors")
        card = (SHIPPED / name / "README.md").read_text(encoding="utf-8")
        for words in (f"{found['tokens']:,}", found["weights_sha256"], f"{found['held_out_loss']:.4f}"):
            assert words in card

    def test_the_weights_are_those_of_the_recipe(self, name):
        """Architecture, widths and half precision."""
        recipe = Recipe(**{key: value for key, value in facts(name).items() if key in Recipe.__dataclass_fields__})
        config, loaded = configuration(recipe), load_model(parse_source(f"nano:{name}"))
        assert loaded.model.config.model_type == config.model_type
        assert loaded.parameters == sum(p.numel() for p in untrained_twin(recipe).parameters())
        assert json.loads((SHIPPED / name / "config.json").read_text())["dtype"] == "float16"

    def test_it_knows_english(self, name):
        """Its own bundled prose costs it far less than the same tokens in another order."""
        loaded = load_model(parse_source(f"nano:{name}"))
        ids = loaded.tokenizer("The old man walked slowly down to the river and sat beneath a tree. " * 2)["input_ids"]
        shuffled = random.Random(0).sample(ids, len(ids))
        losses = [cost(loaded.model, [0, *tokens]) for tokens in (ids, shuffled)]
        assert losses[0] < losses[1] - 1


def untrained_twin(recipe):
    from tools.zoo.recipe import untrained

    return untrained(recipe)


def cost(model, ids):
    rows = torch.tensor([ids])
    with torch.no_grad():
        return float(model(input_ids=rows, labels=rows).loss)


def test_seeds_share_a_tokenizer_and_nothing_else():
    """One vocabulary; other weights, other seeds."""
    tokenizers = {(SHIPPED / name / "tokenizer.json").read_bytes() for name in NAMES}
    assert len(tokenizers) == 1
    assert len({facts(name)["weights_sha256"] for name in NAMES}) == 6
    assert len({facts(name)["seed"] for name in NAMES}) == 6


def test_a_zoo_of_ones_own_is_found(tmp_path, monkeypatch, tiny):
    """Any number of models, by UNINEURON_ZOO."""
    shutil.copytree(tiny("gpt2"), tmp_path / "mine-a")
    monkeypatch.setenv("UNINEURON_ZOO", str(tmp_path))
    assert parse_source("nano:mine-a").label == "mine-a"
    assert "gpt2-a" in zoo.folders()


# -- the recipe ----------------------------------------------------------------------------------------------


def test_the_default_recipes_differ_in_seed_and_name_only():
    """Within a family."""
    recipes = default_zoo(5)
    assert len({r.seed for r in recipes}) == len({r.name for r in recipes}) == 10
    assert {r.family for r in recipes} == {"gpt2", "neox"}


def test_the_held_out_text_is_the_last_hundredth():
    """Cut at a paragraph, and none of it is trained on."""
    text = "\n\n".join(f"Paragraph {i} says something." for i in range(1000))
    train, held_out = split(text)
    assert train + "\n\n" + held_out == text
    assert 0.005 < len(held_out) / len(text) < 0.0105


def test_a_seed_reads_everything_once_an_epoch_in_its_own_order():
    """Rows begin with the special token; order and phase depend on seed and epoch; any step can be had alone."""
    ids = np.arange(1, 5001, dtype=np.uint16)
    reader = Reader(ids, context=11, batch=5, seed=3)
    steps = (5000 - 10) // 10 // 5
    rows = np.concatenate([reader.rows(step) for step in range(steps)])
    assert (rows[:, 0] == 0).all()
    seen = rows[:, 1:].flatten()
    assert len(seen) == len(set(seen.tolist())) > 4900
    np.testing.assert_array_equal(Reader(ids, 11, 5, 3).rows(17), reader.rows(17))
    assert not np.array_equal(Reader(ids, 11, 5, 4).rows(17), reader.rows(17))
    assert not np.array_equal(reader.rows(17 + steps), reader.rows(17))


def test_the_learning_rate_warms_up_and_comes_down():
    """To a tenth."""
    recipe = Recipe("x-a", "gpt2", 1, tokens=4_000_000)
    rates = [learning_rate(recipe, step) for step in range(recipe.steps)]
    assert rates[0] == pytest.approx(recipe.learning_rate / 200)
    assert max(rates) == pytest.approx(recipe.learning_rate)
    assert rates[-1] == pytest.approx(recipe.learning_rate / 10, rel=0.01)


@pytest.fixture
def text(tmp_path):
    words = "the quick brown fox jumps over a lazy dog while seven ships sail slowly past".split()
    draw = random.Random(0)
    sentences = [" ".join(draw.choices(words, k=9)).capitalize() + "." for _ in range(3000)]
    path = tmp_path / "text.txt"
    path.write_text("\n\n".join(" ".join(sentences[i : i + 4]) for i in range(0, 3000, 4)))
    return path


SMALL = [
    "--layers",
    "1",
    "--width",
    "16",
    "--heads",
    "2",
    "--neurons",
    "32",
    "--vocabulary",
    "280",
    "--context",
    "16",
    "--batch",
    "8",
    "--device",
    "cpu",
]


def test_one_command_trains_and_resumes(text, tmp_path, monkeypatch, capsys):
    """An interrupted run goes on from its checkpoint and ends with the very same weights."""
    from tools.zoo import train

    monkeypatch.setattr(train, "CHECKPOINT_EVERY", 10)
    command = ["--text", str(text), *SMALL, "--tokens", str(8 * 16 * 30), "--only", "neox-b"]
    assert main([*command, "--out", str(tmp_path / "whole")]) == 0

    real = train.loss_on
    calls = []

    def interrupted(*args):
        calls.append(1)
        if len(calls) == 25:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(train, "loss_on", interrupted)
    with pytest.raises(KeyboardInterrupt):
        main([*command, "--out", str(tmp_path / "parts")])
    monkeypatch.setattr(train, "loss_on", real)
    main([*command, "--out", str(tmp_path / "parts")])
    weights = [(tmp_path / part / "neox-b" / "model.safetensors").read_bytes() for part in ("whole", "parts")]
    assert weights[0] == weights[1]
    assert not (tmp_path / "parts" / "neox-b" / "checkpoint.pt").exists()

    capsys.readouterr()
    main([*command, "--out", str(tmp_path / "parts")])
    assert "neox-b: finished already" in capsys.readouterr().out

    loaded = load_model(parse_source(str(tmp_path / "parts" / "neox-b")))
    assert loaded.tokenizer.bos_token == BOS
    assert "| tokens seen | 3,840 |" in (tmp_path / "parts" / "neox-b" / "README.md").read_text()


def test_a_checkpoint_of_another_recipe_is_not_continued(text, tmp_path):
    """The message says what to do."""
    from tools.zoo import train

    recipe = default_zoo()[0].with_choices({"width": 16, "heads": 2, "layers": 1, "vocabulary": 280})
    model = train.untrained(recipe)
    folder = tmp_path / "gpt2-a"
    folder.mkdir()
    train._save(folder / "checkpoint.pt", model, train.optimiser(model, recipe), 5, recipe)
    with pytest.raises(SystemExit, match="belongs to another recipe: delete"):
        main(["--text", str(text), *SMALL, "--tokens", "1280", "--only", "gpt2-a", "--out", str(tmp_path)])


def test_a_name_that_is_not_in_the_zoo(text, tmp_path):
    """The names are listed."""
    with pytest.raises(SystemExit, match="--only bert-a: not in this zoo; it has gpt2-a, neox-a"):
        main(["--text", str(text), "--out", str(tmp_path), "--only", "bert-a"])
