"""The calibration: null models are what they are said to be, results are kept, and tables count them."""

import json
from collections import Counter

import pytest
import torch
from scipy import stats

from benchmarks.calibration import nulls, results, suite, tables
from benchmarks.calibration.__main__ import batches, main
from benchmarks.calibration.models import ALL, LEARNED_POSITIONS, NULLS, Specimen, all_specimens, choose

PROVENANCE = {"command": "c", "date": "2026-01-31", "machine": "2 CPU cores", "versions": {"torch": "2"}}
CHEAP = [(kind, each.architectures[0]) for kind, each in NULLS.items() if kind != "shuffled-text"]


def record(name, kind="untrained", architecture="gpt2", criterion="NA", **outcomes):
    trials = {trial: {"criterion": "GT1", "outcome": outcome, "reason": ""} for trial, outcome in outcomes.items()}
    about = {"name": name, "kind": kind, "architecture": architecture, "seconds": 1.0}
    return {**about, "criteria": {"GT1": criterion}, "trials": trials}


def weights(model):
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def test_there_are_a_hundred_nulls_of_eight_architectures_each_once():
    specimens = [each for each in all_specimens() if each.is_null]
    assert len(specimens) >= 100
    assert len({each.architecture for each in specimens}) >= 8
    assert len({each.name for each in all_specimens()}) == len(all_specimens())
    assert set(nulls.MAKERS) == set(NULLS)


def test_the_first_nulls_are_one_of_each_kind():
    assert {each.kind for each in all_specimens()[: len(NULLS)]} == set(NULLS)


def test_models_are_chosen_by_kind_or_architecture():
    specimens = all_specimens()
    assert {each.kind for each in choose(specimens, "sink")} == {"sink"}
    assert {each.architecture for each in choose(specimens, "llama", 2)} == {"llama"}
    with pytest.raises(ValueError, match="--only mamba: no kind or architecture of that name; choose from untrained"):
        choose(specimens, "mamba")


@pytest.mark.parametrize(("kind", "architecture"), CHEAP)
def test_a_null_follows_from_its_seed(kind, architecture):
    """The same seed makes the same weights, another one others, and all of them are finite."""
    one, again, other = (weights(nulls.make(kind, architecture, seed)) for seed in (3, 3, 4))
    assert all(torch.isfinite(values).all() for values in one.values())
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("architecture", ALL)
def test_every_architecture_runs_and_has_the_heads_that_trials_ask_for(architecture):
    model = nulls.make("untrained", architecture, 0)
    logits = model(torch.arange(nulls.CONTEXT)[None]).logits
    assert torch.isfinite(logits).all()
    assert model.config.num_hidden_layers * model.config.num_attention_heads >= 32


def test_heavy_tailed_weights_keep_their_deviation():
    """Their kurtosis is far beyond the 3 of a normal distribution, which the untrained model has."""
    plain, heavy = (weights(nulls.make(kind, "llama", 0)) for kind in ("untrained", "heavy-tailed-weights"))
    matrices = [name for name, values in plain.items() if values.dim() == 2]
    assert all(stats.kurtosis(plain[name].flatten(), fisher=False) < 3.2 for name in matrices)
    assert all(stats.kurtosis(heavy[name].flatten(), fisher=False) > 6 for name in matrices)
    assert all(heavy[name].std().item() == pytest.approx(plain[name].std().item(), rel=0.05) for name in matrices)
    made = choose(all_specimens(), "heavy-tailed-weights")
    assert {nulls.degrees(each.architecture, each.seed) for each in made} == {2, 3, 4}


@pytest.mark.parametrize(("kind", "factor"), nulls.SCALES.items())
def test_scaled_weights_are_larger_or_smaller_than_untrained_ones(kind, factor):
    """By the factor; norms and biases stay."""
    plain, scaled = weights(nulls.make("untrained", "gpt2", 0)), weights(nulls.make(kind, "gpt2", 0))
    for name, values in plain.items():
        if values.dim() >= 2:
            assert scaled[name].std().item() == pytest.approx(factor * values.std().item(), rel=0.05)
        else:
            assert torch.equal(scaled[name], values)


def test_no_two_nulls_share_their_random_numbers():
    """Not even those of one architecture and seed: they count as independent."""
    made = [weights(nulls.make(kind, "gpt2", 0)) for kind in ("untrained", "large-weights", "sink")]
    flat = torch.stack([each["transformer.h.0.mlp.c_fc.weight"].flatten() for each in made])
    assert (torch.corrcoef(flat) - torch.eye(3)).abs().max() < 0.03


def test_a_trained_embedding_is_that_of_a_nano_model():
    assert torch.equal(
        nulls.make("trained-embedding", "llama", 0).get_input_embeddings().weight,
        nulls.nano("gpt2", 0).get_input_embeddings().weight,
    )


@pytest.mark.parametrize("architecture", ["gpt2", "gpt_neox"])
def test_a_shuffled_mlp_has_the_trained_values_in_other_places(architecture):
    trained, shuffled = weights(nulls.nano(architecture, 0)), weights(nulls.make("shuffled-mlp", architecture, 0))
    for name, values in trained.items():
        moved = ".mlp." in name and values.std() > 0
        assert torch.equal(shuffled[name], values) != moved
        assert torch.equal(shuffled[name].flatten().sort().values, values.flatten().sort().values)


@pytest.mark.parametrize("architecture", ["gpt2", "gpt_neox"])
def test_a_rotated_mlp_is_a_rotation_of_the_hidden_units(architecture):
    """Without the nonlinearity the layer computes the same; with it, it does not, and all norms are kept."""
    trained, rotated = nulls.nano(architecture, 0), nulls.make("rotated-mlp", architecture, 0)
    name = next(name.rpartition(".mlp.")[0] for name, _ in trained.named_parameters() if ".mlp." in name) + ".mlp"
    one, other = trained.get_submodule(name), rotated.get_submodule(name)
    residual = torch.randn(5, nulls.WIDTH, generator=torch.Generator().manual_seed(0))
    assert not torch.allclose(one(residual), other(residual), atol=1e-2)
    for mlp in (one, other):
        mlp.act = torch.nn.Identity()
    assert torch.allclose(one(residual), other(residual), atol=1e-3)
    for mine, theirs in zip(other.parameters(), one.parameters(), strict=True):
        assert mine.norm().item() == pytest.approx(theirs.norm().item(), rel=1e-4)


@pytest.mark.parametrize("architecture", LEARNED_POSITIONS)
def test_a_sink_is_in_the_residual_stream_of_the_first_two_tokens(architecture):
    """And nowhere else, which for BERT holds before the norm of its embeddings."""
    model = nulls.make("sink", architecture, 0)
    if architecture == "bert":
        stream = model.bert.embeddings.position_embeddings.weight.detach()
    else:
        ids = torch.arange(100, 164)[None]
        stream = model(ids, output_hidden_states=True).hidden_states[0][0]  # [position, dimension]
    size = stream.norm(dim=1)
    assert size[:2].min() > 20 * size[2:].median()
    assert size[2:].max() < 3 * size[2:].median()


def test_training_on_shuffled_text_learns_the_frequencies_of_tokens(monkeypatch):
    monkeypatch.setattr(nulls, "STEPS", 12)
    model = nulls.make("shuffled-text", "gpt2", 0)
    text = nulls.tokenizer()("The first of the two sentences is this one, and the other is not.", return_tensors="pt")
    plain = nulls.make("untrained", "gpt2", 0)
    losses = [each(**text, labels=text["input_ids"]).loss.item() for each in (model, plain)]
    assert losses[0] < losses[1] - 0.3


def test_results_are_read_back_by_model_and_only_those_of_the_same_suite(tmp_path):
    results.append(tmp_path, "now", [record("a"), record("b")])
    results.append(tmp_path, "before", [record("c")])
    results.append(tmp_path, "now", [record("b", criterion="PASS")])
    with (tmp_path / results.FILE).open("a") as file:
        file.write('\n{"suite": "now", "name": "cut o')
    found = results.read(tmp_path, "now")
    assert list(found) == ["a", "b"]
    assert found["b"]["criteria"] == {"GT1": "PASS"}
    assert results.read(tmp_path / "nowhere", "now") == {}


def test_a_run_goes_on_after_a_cut_line(tmp_path):
    """What is added after a line that was cut off is on a line of its own."""
    (tmp_path / results.FILE).write_text('{"suite": "now", "na')
    results.append(tmp_path, "now", [record("a")])
    assert list(results.read(tmp_path, "now")) == ["a"]


def test_models_with_results_are_not_run_again(tmp_path, capsys):
    """With all chosen models there, nothing runs, and the tables of a part stay in the work folder."""
    chosen = choose(all_specimens(), "sink", 3)
    results.append(tmp_path, suite.suite_digest(), [record(each.name, each.kind) for each in chosen])
    before = (tmp_path / results.FILE).read_text()
    given = ["--work", str(tmp_path), "--out", str(tmp_path / "out"), "--only", "sink", "--models", "3"]
    assert main(given) == 0
    assert (tmp_path / results.FILE).read_text() == before
    assert "3 null models of 1 architectures and 1 kinds" in (tmp_path / tables.MARKDOWN).read_text(encoding="utf-8")
    assert not (tmp_path / "out").exists()
    assert "models have not run" in capsys.readouterr().err
    assert main([*given, "--tables"]) == 0
    assert (tmp_path / "out" / tables.JSON).is_file()


def test_tables_without_results_are_refused(tmp_path, capsys):
    assert main(["--work", str(tmp_path), "--tables"]) == 1
    assert "no results of the present trials" in capsys.readouterr().err


def test_a_run_of_the_trials_is_of_nulls_or_of_one_other_model():
    runs = list(batches(all_specimens()))
    assert Counter(each for run in runs for each in run) == Counter(all_specimens())
    assert all(len(run) == 1 or all(each.is_null for each in run) for run in runs)


def test_outcomes_are_read_from_a_report_whatever_a_verdict_is_stored_with():
    report = {
        "criteria": {"GT1": {"subjects": {"m": {"verdict": "PASS", "support": "signature"}}}},
        "trials": [
            {"name": "one", "criterion": "GT1", "subjects": {"m": {"outcome": "PASS", "reason": "r"}}},
            {"name": "two", "criterion": "GT1", "subjects": {}},
        ],
    }
    found = suite.record(Specimen("sink", "gpt2"), report, "m")
    assert found["criteria"] == {"GT1": "PASS"}
    assert found["trials"] == {"one": {"criterion": "GT1", "outcome": "PASS", "reason": "r"}}


def test_a_planted_model_counts_for_the_trials_whose_effects_it_has():
    """Those of other effects are planted in models of their own, which count for nothing else."""
    names = ["heavy_tailed_neurons[prose]", "suppression_neurons_are_last[prose]"]
    passed = {"m": {"outcome": "PASS", "reason": ""}}
    trials = [{"name": name, "criterion": "GT1", "subjects": passed} for name in names]
    report = {"criteria": {"GT1": {"subjects": {"m": "PASS"}}}, "trials": trials}
    for trial, criteria in ((names[0], ["GT1"]), (names[1], [])):
        own = "" if criteria else trial.partition("[")[0]
        found = suite.record(Specimen("planted", "gpt2", trial=own), report, "m")
        assert (list(found["trials"]), list(found["criteria"])) == ([trial], criteria)


def test_the_digest_of_the_suite_covers_the_trials():
    files = [path.name for pattern in suite.SOURCES for path in suite.ROOT.glob(pattern)]
    assert {"test_heavy_tails.py", "conftest.py", "nulls.py"} <= set(files)
    assert suite.suite_digest() == suite.suite_digest()


@pytest.mark.parametrize(("passed", "total"), [(0, 20), (1, 20), (7, 113), (5, 5)])
def test_intervals_are_those_of_the_beta_distribution(passed, total):
    """Clopper and Pearson (1934) by quantiles of beta distributions."""
    low = stats.beta.ppf(0.025, passed, total - passed + 1) if passed else 0.0
    high = stats.beta.ppf(0.975, passed + 1, total - passed) if passed < total else 1.0
    assert tables.clopper_pearson(passed, total) == pytest.approx((low, high))


def rows(table):
    return {row["trial or criterion"]: row for row in table.as_dict()["rows"]}


def test_a_false_pass_is_counted_among_the_models_with_an_outcome():
    outcomes = ["PASS", "PASS", "FAIL", "VACUOUS", "NA", "NOT_RUN"]
    found = [record(str(number), heavy=outcome, seeds="NA") for number, outcome in enumerate(outcomes)]
    found[0]["criteria"]["GT1"] = "PASS"
    table = rows(tables.null_table([*found, record("planted", "planted", heavy="PASS")]))
    heavy = table["heavy"]
    assert [heavy[name] for name in ("nulls", *tables.OUTCOMES)] == [6, 2, 1, 1, 1, 1]
    low, high = (100 * bound for bound in tables.clopper_pearson(2, 4))
    assert [heavy[name] for name in ("false PASS, %", "95 % from", "to")] == pytest.approx([50, low, high], rel=1e-4)
    assert heavy["what passed"] == "untrained gpt2 × 2"
    assert table["GT1"]["false PASS, %"] == pytest.approx(100 / 6, rel=1e-4)
    assert "seeds" not in table


def test_a_trial_of_a_part_that_is_trained_does_not_count_that_null():
    """It counts for the criterion, whose verdict rests on other trials too."""
    found = [
        record("a", "trained-embedding", criterion="PASS", embedding_basis="PASS", heavy="FAIL"),
        record("b", "untrained", embedding_basis="FAIL", heavy="FAIL"),
    ]
    table = rows(tables.null_table(found))
    assert (table["embedding_basis"]["nulls"], table["embedding_basis"]["PASS"]) == (1, 0)
    assert (table["heavy"]["nulls"], table["GT1"]["nulls"], table["GT1"]["PASS"]) == (2, 2, 1)


def test_power_is_shown_for_every_group_of_models():
    found = [
        record("p0", "planted", criterion="PASS", heavy="PASS"),
        record("p1", "planted", heavy="VACUOUS"),
        record("p2", "planted", heavy="NA"),
        record("z", "zoo", heavy="PASS"),
        record("n", "untrained", heavy="FAIL"),
    ]
    table = rows(tables.power_table(found))
    assert table["heavy"]["planted models"] == "1 of 2, 1 NA, 1 VACUOUS"
    assert table["heavy"]["trained nano models"] == "1 of 1"
    assert table["heavy"]["SmolLM2-135M-Instruct"] is None
    assert table["GT1"]["planted models"] == "1 of 3, 2 NA"


def test_both_files_hold_the_same_tables(tmp_path):
    table = tables.null_table([record("a", heavy="FAIL"), record("b", heavy="PASS")])
    text = tables.write(tmp_path, [table], PROVENANCE)
    assert (tmp_path / tables.MARKDOWN).read_text(encoding="utf-8") == text
    stored = json.loads((tmp_path / tables.JSON).read_text(encoding="utf-8"))
    assert stored["nulls"]["rows"][1]["PASS"] == 1
    assert "`c`, 2026-01-31, 2 CPU cores; torch 2." in text
    assert "| heavy | 2 | 1 | 1 | 0 | 0 | 0 | 50.0 | 1.26 | 98.7 | untrained gpt2 |" in text


def test_trials_that_were_run_again_replace_their_rows(tmp_path):
    """Those of others stay, and a note says which ones are of which day."""
    tables.write(tmp_path, [tables.null_table([record("a", **{"heavy[prose]": "PASS", "skewed": "FAIL"})])], PROVENANCE)
    table = tables.null_table([record("a", **{"heavy[prose]": "FAIL"}) | {"criteria": {}}])
    text = tables.write_again(tmp_path, [table], ["heavy"], PROVENANCE | {"date": "2026-02-01"})
    stored = json.loads((tmp_path / tables.JSON).read_text(encoding="utf-8"))["nulls"]
    assert [(row["trial or criterion"], row["PASS"]) for row in stored["rows"]] == [
        ("GT1", 0),
        ("heavy[prose]", 0),
        ("skewed", 0),
    ]
    assert "`c`, 2026-01-31" in text
    assert "Run again on 2026-02-01, alone (2 CPU cores): heavy." in text
    table = tables.null_table([record("a", **{"heavy[prose]": "NA"}) | {"criteria": {}}])
    assert "| heavy" not in tables.write_again(tmp_path, [table], ["heavy"], PROVENANCE)


def test_a_run_of_some_trials_has_their_outcomes_alone():
    passed = {"m": {"outcome": "PASS", "reason": ""}}
    names = ("heavy[prose]", "heavy_too[prose]")
    report = {
        "criteria": {"GT1": {"subjects": {"m": "NA"}}},
        "trials": [{"name": name, "criterion": "GT1", "subjects": passed} for name in names],
    }
    found = suite.record(Specimen("sink", "gpt2"), report, "m", ["heavy"])
    assert (list(found["trials"]), found["criteria"]) == (["heavy[prose]"], {})
    assert suite.suite_digest(["heavy"]) != suite.suite_digest()


@pytest.mark.slow
def test_the_trials_run_on_nulls_and_give_a_line_for_each(tmp_path, monkeypatch):
    """In a process of its own, as by the command, but only two trials."""
    monkeypatch.setattr(suite, "OPTIONS", (*suite.OPTIONS, "-k", "head_circuits or head_weight"))
    chosen = [Specimen("untrained", "gpt2"), Specimen("untrained", "llama")]
    found = suite.run(chosen, tmp_path)
    assert [each["name"] for each in found] == ["untrained-gpt2-0", "untrained-llama-0"]
    for each in found:
        assert each["criteria"]["GT1"] == "NA"
        assert each["trials"]["embedding_basis_is_privileged"]["outcome"] == "NOT_RUN"
        assert each["trials"]["head_circuits_are_concentrated"]["outcome"] == "FAIL"
        assert each["trials"]["notebook_head_weight_norms"]["criterion"] == "GT3"
