"""The models that ship, and the training that made them."""

import json
import random
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from pytest_unineuron import zoo
from pytest_unineuron.models.loading.load import load_model
from pytest_unineuron.models.loading.source import parse_source
from tools.zoo import measure, train
from tools.zoo.recipe import Recipe, default_recipes, model_config, untrained_model
from tools.zoo.text import BOS, TrainingRows, file_digest, split_held_out

SHIPPED = Path(zoo.__file__).parent / "models"
NAMES = [f"{family}-{letter}" for family in ("gpt2", "llama", "neox") for letter in "abc"]


@cache
def recipe_file(name):
    return json.loads((SHIPPED / name / "recipe.json").read_text())


@cache
def shipped_model(name):
    return load_model(parse_source(f"nano:{name}"))


# -- models that ship ----------------------------------------------------------------------------------------


def test_three_seeds_of_each_architecture_ship_in_at_most_24_megabytes():
    assert sorted(path.name for path in SHIPPED.iterdir() if path.is_dir()) == NAMES
    assert sum(path.stat().st_size for path in SHIPPED.rglob("*")) <= 24e6


@pytest.mark.parametrize("name", NAMES)
def test_the_card_states_tokens_loss_and_the_digest_of_the_weights(name):
    facts = recipe_file(name)
    assert facts["tokens"] > 59_990_000  # whole steps of 60 million
    assert facts["held_out_loss"] < facts["unigram_entropy"] - 1.5
    assert facts["weights_sha256"] == file_digest(SHIPPED / name / "model.safetensors")
    for found in facts["universality"].values():
        assert min(np.subtract(found["share"], found["largest_null"])) > 0
    card = (SHIPPED / name / "README.md").read_text(encoding="utf-8")
    for words in (f"{facts['tokens']:,}", facts["weights_sha256"], f"{facts['held_out_loss']:.4f}"):
        assert words in card


@pytest.mark.parametrize("name", NAMES)
def test_the_weights_have_the_architecture_and_sizes_of_the_recipe_in_half_precision(name):
    facts = recipe_file(name)
    recipe = Recipe(**{key: value for key, value in facts.items() if key in Recipe.__dataclass_fields__})
    loaded = shipped_model(name)
    with torch.device("meta"):
        expected = untrained_model(recipe)
    assert loaded.model.config.model_type == model_config(recipe).model_type
    assert loaded.parameters == sum(parameter.numel() for parameter in expected.parameters())
    assert json.loads((SHIPPED / name / "config.json").read_text())["dtype"] == "float16"


@pytest.mark.parametrize("name", NAMES)
def test_english_costs_a_shipped_model_less_than_the_same_tokens_shuffled(name):
    loaded = shipped_model(name)
    ids = loaded.tokenizer("The old man walked slowly down to the river and sat beneath a tree. " * 2)["input_ids"]
    shuffled = random.Random(0).sample(ids, len(ids))
    losses = []
    for tokens in (ids, shuffled):
        rows = torch.tensor([[0, *tokens]])
        with torch.no_grad():
            losses.append(float(loaded.model(input_ids=rows, labels=rows).loss))
    assert losses[0] < losses[1] - 1


def test_shipped_models_share_a_tokenizer_but_no_weights_and_no_seed():
    tokenizers = {(SHIPPED / name / "tokenizer.json").read_bytes() for name in NAMES}
    assert len(tokenizers) == 1
    assert len({recipe_file(name)["weights_sha256"] for name in NAMES}) == len(NAMES)
    assert len({recipe_file(name)["seed"] for name in NAMES}) == len(NAMES)


def test_a_folder_in_unineuron_zoo_adds_models(tmp_path, monkeypatch, tiny):
    shutil.copytree(tiny("gpt2"), tmp_path / "mine-a")
    monkeypatch.setenv("UNINEURON_ZOO", str(tmp_path))
    assert parse_source("nano:mine-a").label == "mine-a"
    assert "gpt2-a" in zoo.folders()


# -- recipes and text ----------------------------------------------------------------------------------------


def test_default_recipes_have_names_and_seeds_of_their_own():
    recipes = default_recipes(5)
    assert len({r.seed for r in recipes}) == len({r.name for r in recipes}) == 15
    assert {r.family for r in recipes} == {"gpt2", "neox", "llama"}


def test_the_held_out_text_is_the_last_hundredth_and_starts_with_a_paragraph():
    text = "\n\n".join(f"Paragraph {i} says something." for i in range(1000))
    training, held_out = split_held_out(text)
    assert training + "\n\n" + held_out == text
    assert 0.005 < len(held_out) / len(text) < 0.0105


def test_a_seed_reads_every_token_once_per_epoch_in_an_order_of_its_own():
    """Rows start with the special token; order and offset depend on seed and epoch, and steps on no earlier step."""
    ids = np.arange(1, 5001, dtype=np.uint16)
    rows = TrainingRows(ids, context=11, batch=5, seed=3)
    steps = (5000 - 10) // 10 // 5
    epoch = np.concatenate([rows.batch_at(step) for step in range(steps)])
    assert (epoch[:, 0] == 0).all()
    tokens = epoch[:, 1:].flatten()
    assert len(tokens) == len(set(tokens.tolist())) > 4900
    np.testing.assert_array_equal(TrainingRows(ids, 11, 5, 3).batch_at(17), rows.batch_at(17))
    assert not np.array_equal(TrainingRows(ids, 11, 5, 4).batch_at(17), rows.batch_at(17))
    assert not np.array_equal(rows.batch_at(17 + steps), rows.batch_at(17))


def test_the_learning_rate_rises_to_its_maximum_and_falls_to_a_tenth():
    recipe = Recipe("x-a", "gpt2", 1, tokens=4_000_000)
    rates = [train.learning_rate(recipe, step) for step in range(recipe.steps)]
    assert rates[0] == pytest.approx(recipe.learning_rate / 200)
    assert max(rates) == pytest.approx(recipe.learning_rate)
    assert rates[-1] == pytest.approx(recipe.learning_rate / 10, rel=0.01)


# -- training ------------------------------------------------------------------------------------------------

SIZES = "--layers 1 --width 16 --heads 2 --neurons 32 --vocabulary 280 --context 16 --batch 8".split()
HOW = ["--device", "cpu", "--no-compile"]


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    words = "the quick brown fox jumps over a lazy dog while seven ships sail slowly past".split()
    draw = random.Random(0)
    sentences = [" ".join(draw.choices(words, k=9)).capitalize() + "." for _ in range(800)]
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("\n\n".join(" ".join(sentences[i : i + 4]) for i in range(0, 800, 4)))
    return path


@pytest.fixture(scope="module")
def command(text):
    """A command that trains one model for eight steps."""
    return ["--text", str(text), *SIZES, *HOW, "--tokens", str(8 * 16 * 8), "--only", "neox-b"]


@pytest.fixture(scope="module")
def trained(command, tmp_path_factory):
    """Two folders of the same model, the second trained with an interruption two steps after a checkpoint."""
    whole, resumed = (tmp_path_factory.mktemp(name) for name in ("whole", "resumed"))
    losses = 0

    def interrupt(*args):
        nonlocal losses
        losses += 1
        if losses == 8:
            raise KeyboardInterrupt
        return mean_loss(*args)

    mean_loss = train.mean_loss
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "CHECKPOINT_EVERY", 3)
        assert train.main([*command, "--out", str(whole)]) == 0
        patch.setattr(train, "mean_loss", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train.main([*command, "--out", str(resumed)])
    assert (resumed / "neox-b" / "checkpoint.pt").exists()
    train.main([*command, "--out", str(resumed)])
    return whole / "neox-b", resumed / "neox-b"


def test_a_resumed_run_ends_with_the_very_same_weights(trained):
    whole, resumed = trained
    assert (whole / "model.safetensors").read_bytes() == (resumed / "model.safetensors").read_bytes()
    assert not (resumed / "checkpoint.pt").exists()


def test_a_trained_model_is_loaded_with_its_tokenizer_and_has_a_card(trained):
    whole, _ = trained
    assert load_model(parse_source(str(whole))).tokenizer.bos_token == BOS
    assert "| tokens seen | 1,024 |" in (whole / "README.md").read_text()


def test_training_the_first_steps_again_gives_the_weights_that_the_card_states(trained, command, tmp_path, capsys):
    whole, _ = trained
    assert train.main([*command, "--out", str(tmp_path), "--check", str(whole)]) == 0
    facts = json.loads((whole / "recipe.json").read_text())
    assert f"neox-b after 8 steps: the same weights, loss {facts['early_loss']:.4f} here" in capsys.readouterr().out
    assert facts["early_sha256"] in (whole / "README.md").read_text()


def test_a_card_that_states_another_loss_is_not_confirmed(trained, command, tmp_path, capsys):
    shutil.copytree(trained[0], tmp_path / "neox-b")
    path = tmp_path / "neox-b" / "recipe.json"
    facts = json.loads(path.read_text())
    path.write_text(json.dumps({**facts, "early_loss": facts["early_loss"] + 0.1, "early_sha256": "0"}))
    assert train.main([*command, "--out", str(tmp_path / "again"), "--check", str(path.parent)]) == 1
    assert "other weights" in capsys.readouterr().out


@pytest.mark.slow
def test_measured_models_say_on_their_cards_how_universal_they_are(command, tmp_path):
    train.main([*command[:-2], "--only", "neox-a", "neox-b", "--seeds", "2", "--out", str(tmp_path)])
    assert measure.main([str(tmp_path), "--tokens", "3000"]) == 0
    facts = json.loads((tmp_path / "neox-a" / "recipe.json").read_text())
    assert set(facts["universality"]) == {"prose", "news"}
    for found in facts["universality"].values():
        assert found["share"] == sorted(found["share"])
        assert all(0 <= share <= 1 for share in found["share"] + found["largest_null"])
    share = facts["universality"]["news"]["share"][2]
    assert f" | {share:.2%} |\n| largest share of a null model |" in (tmp_path / "neox-a" / "README.md").read_text()


def test_a_finished_model_is_not_trained_again(trained, command, capsys):
    train.main([*command, "--out", str(trained[0].parent)])
    assert "neox-b: already finished" in capsys.readouterr().out


def test_a_checkpoint_of_another_recipe_is_refused_with_what_to_do(text, tmp_path):
    recipe = default_recipes()[0].with_choices({"width": 16, "heads": 2, "layers": 1, "vocabulary": 280})
    model = untrained_model(recipe)
    folder = tmp_path / "gpt2-a"
    folder.mkdir()
    train.save_checkpoint(folder / "checkpoint.pt", model, train.make_optimiser(model, recipe), 5, recipe)
    with pytest.raises(SystemExit, match="belongs to another recipe: delete"):
        train.main(["--text", str(text), *SIZES, *HOW, "--tokens", "1280", "--only", "gpt2-a", "--out", str(tmp_path)])


def test_an_unknown_name_is_refused_with_the_names_of_the_zoo(text, tmp_path):
    with pytest.raises(SystemExit, match="--only bert-a: not in this zoo; it has gpt2-a, neox-a"):
        train.main(["--text", str(text), "--out", str(tmp_path), "--only", "bert-a"])
