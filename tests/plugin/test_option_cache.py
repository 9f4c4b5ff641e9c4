"""``--unineuron-cache``, ``-no-cache`` and ``-cache-size``: results that are reused by later runs."""

import json
import shutil

import pytest

MEASURES = """
@pytest.mark.gt2(source="x", controls=["untrained", "rotation"])
def test_kurtosis(unineuron_neurons, unineuron_measure):
    unineuron_measure("median", float(np.median(unineuron_neurons.kurtosis)), above=0)

@pytest.mark.gt3(source="x", controls=["shuffled"])
def test_matched(unineuron_universality, unineuron_measure):
    unineuron_measure("excess", unineuron_universality.neurons.mean_excess, above=0)
"""
ARGS = (
    "--unineuron-corpus=news",
    "--unineuron-tokens=600",
    "--unineuron-correlation-tokens=300",
    "-p",
    "cacheprovider",
    "--unineuron-fail-on=never",
)


@pytest.fixture
def run_trials(two_seeds, trials):
    """A function that runs two trials on two seeds."""
    trials.write("import numpy as np\n" + MEASURES)
    arguments = (f"--unineuron-model={two_seeds[0]}", f"--unineuron-seed={two_seeds[1]}", *ARGS)
    return lambda *more, **options: trials.run(*arguments, *more, **options)


def values(run):
    """All measurements of a run, on all arms."""
    return [
        arm["measurements"]
        for trial in run.report["trials"]
        for subject in trial["subjects"].values()
        for case in subject["cases"]
        for arm in (case["subject"], *case["controls"].values())
    ]


def cache_hits(run):
    """The results that a run read from the cache."""
    return [(each["what"], each["control"], each["corpus"]) for each in run.report["cache"]["hits"]]


def test_controls_that_run_along_come_from_the_cache(run_trials, two_seeds):
    """After a whole run, the node id of a model's item runs its controls too, without a forward pass."""
    model = two_seeds[0].name
    whole = run_trials()
    found = run_trials(f"test_trials.py::test_kurtosis[{model}-news]")
    assert found.report["forward_passes"] == 0
    assert list(found.arms("kurtosis[news]", model)) == ["untrained", "rotation"]
    assert found.outcome("kurtosis[news]", model) == whole.outcome("kurtosis[news]", model)
    assert found.arms("kurtosis[news]", model)["rotation"]["measurements"]


def test_a_second_run_makes_no_forward_pass(run_trials):
    """The report lists the results from the cache. All measurements are identical."""
    first = run_trials()
    second = run_trials()
    assert first.report["forward_passes"] == 6  # news: model, untrained, rotation; prose: model, shuffled, seed
    assert cache_hits(first) == []
    assert second.report["forward_passes"] == 0
    assert cache_hits(second) == [
        ("sinks", "", "news"),
        ("sweep", "", "news"),
        ("sweep", "rotation", "news"),
        ("sweep", "untrained", "news"),
        ("sinks", "", "prose"),
        ("universality", "", "prose"),
        ("universality", "shuffled", "prose"),
    ]
    assert values(first) == values(second)
    assert first.summary == second.summary
    assert first.report["models"].keys() == second.report["models"].keys()
    assert " Forward passes: 0 (7 results are from the cache)." in second.shown


def test_trials_are_measured_if_the_cache_folder_cannot_be_made(run_trials, trials):
    """A file is in the place of the folder of pytest's cache, so nothing is stored."""
    (trials.path / ".pytest_cache").write_text("a file")
    for _ in range(2):
        run = run_trials("-k", "kurtosis")
        assert run.report["forward_passes"] == 3
        assert cache_hits(run) == []


@pytest.mark.parametrize("location", [(), ("--unineuron-cache=kept",)])
def test_cache_clear_empties_the_cache(run_trials, trials, location):
    """--cache-clear works for pytest's cache and for a named one, and deletes no other files there."""
    run_trials("-k", "kurtosis", *location)
    other_file = trials.path / "kept" / "other_file.txt"
    other_file.parent.mkdir(exist_ok=True)
    other_file.touch()
    assert run_trials("-k", "kurtosis", *location, "--cache-clear").report["forward_passes"] == 3
    assert run_trials("-k", "kurtosis", *location).report["forward_passes"] == 0
    assert other_file.exists()


def test_no_cache_neither_reads_nor_writes(run_trials, trials):
    """With --unineuron-no-cache a stored result is measured again, and a new one is not stored."""
    run_trials()
    before = sorted(trials.path.rglob("*.safetensors"))
    again = run_trials("--unineuron-no-cache", "--unineuron-tokens=500")
    assert again.report["forward_passes"] == 6
    assert run_trials("--unineuron-no-cache").report["forward_passes"] == 6
    assert sorted(trials.path.rglob("*.safetensors")) == before


@pytest.mark.parametrize("changed", ["--unineuron-tokens=500", "--unineuron-context=32", "--unineuron-dtype=float64"])
def test_results_are_not_reused_under_other_settings(run_trials, changed):
    """Results with another budget of tokens, context or precision are different results."""
    run_trials("-k", "kurtosis")
    other = run_trials("-k", "kurtosis", changed)
    assert other.report["forward_passes"] == 3
    assert cache_hits(other) == []


def test_another_text_is_another_result(run_trials, trials):
    """Texts are compared by content, so the same text under another name is found."""
    for name in ("one", "two", "three"):
        last = "ends." if name == "three" else "ends"
        lines = [json.dumps({"text": " ".join(f"{n}.{i}" for i in range(20)) + last}) for n in range(4)]
        (trials.path / f"{name}.jsonl").write_text("\n".join(lines))
    runs = [run_trials("-k", "kurtosis", f"--unineuron-corpus={name}.jsonl") for name in ("one", "two", "three")]
    assert [run.report["forward_passes"] for run in runs] == [6, 0, 3]  # news is there too


def test_other_weights_are_another_result(two_seeds, trials, tmp_path):
    """Weights are compared by content, also in the same folder."""
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "model"
    shutil.copytree(two_seeds[0], folder)
    trials.write("import numpy as np\n" + MEASURES)
    given = (*ARGS, "-k", "kurtosis", f"--unineuron-model={folder}")
    assert [trials.run(*given).report["forward_passes"] for _ in range(2)] == [3, 0]
    weights = {name: tensor * 1.5 for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert trials.run(*given).report["forward_passes"] == 3


def test_a_damaged_entry_is_measured_again(run_trials, trials):
    """The report names each damaged entry."""
    run_trials("-k", "kurtosis")
    for path in trials.path.rglob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-1])
    again = run_trials("-k", "kurtosis")
    assert again.report["forward_passes"] == 3
    assert len(again.report["cache"]["notes"]) == 4  # the sinks too
    again.result.stdout.fnmatch_lines(["CACHE: cache entry *.safetensors cannot be used and is computed again*"])
    assert run_trials("-k", "kurtosis").report["cache"]["notes"] == []


@pytest.mark.slow
def test_workers_share_the_cache(run_trials):
    """Every result is computed once, however items are distributed among workers."""
    given = ("-k", "kurtosis", "--unineuron-cache=kept")
    assert run_trials(*given, "-n", "2", "--dist=worksteal", subprocess=True).report["forward_passes"] == 3
    assert run_trials(*given).report["forward_passes"] == 0


def test_runs_under_a_lock_do_not_use_the_cache(run_trials):
    """Results are measured again when a lock is written and when it is tested."""
    run_trials("--unineuron-cache=kept")
    run_trials("--unineuron-cache=kept", "--unineuron-write-lock=claim.lock")
    locked = run_trials("--unineuron-cache=kept", "--unineuron-lock=claim.lock")
    assert locked.report["forward_passes"] == 6
    assert cache_hits(locked) == []


def test_nothing_is_cached_without_the_cache_of_pytest(run_trials, trials):
    """With -p no:cacheprovider results are cached only in a folder that is named."""
    run_trials("-p", "no:cacheprovider", "-k", "kurtosis")
    assert run_trials("-p", "no:cacheprovider", "-k", "kurtosis").report["forward_passes"] == 3
    assert not list(trials.path.rglob("*.safetensors"))


@pytest.mark.parametrize("name", ["file", "file/kept", "x" * 300])
def test_a_name_that_no_folder_can_have_is_refused(trials, name):
    """The run would measure everything and keep nothing."""
    (trials.path / "file").touch()
    found = trials.write("").run("--unineuron-model=nano:neox-a", f"--unineuron-cache={name}")
    assert found.ret == 4
    found.result.stderr.fnmatch_lines(
        [f"ERROR: --unineuron-cache={name}: cannot be written to: *; name another folder, or say --unineuron-no-cache"]
    )


def test_a_folder_that_can_only_be_read_is_used(run_trials, trials, monkeypatch):
    """What is stored there is found."""
    run_trials("-k", "kurtosis", "--unineuron-cache=kept")
    monkeypatch.setattr("pytest_unineuron.plugin.run.reason_unwritable", lambda folder: "Read-only file system")
    assert run_trials("-k", "kurtosis", "--unineuron-cache=kept").report["forward_passes"] == 0
