"""``--unineuron-cache``, ``-no-cache``, ``-cache-size``: what was swept once on a machine is not swept again."""

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
def measured(two_seeds, trials):
    """A file of trials, and how to run it."""
    trials.write("import numpy as np\n" + MEASURES)
    given = (f"--unineuron-model={two_seeds[0]}", f"--unineuron-seed={two_seeds[1]}", *ARGS)
    return lambda *more, **how: trials.run(*given, *more, **how)


def values(run):
    """Everything that was measured, on all arms."""
    return [
        arm["measurements"]
        for trial in run.report["trials"]
        for subject in trial["subjects"].values()
        for case in subject["cases"]
        for arm in (case["subject"], *case["controls"].values())
    ]


def taken(run):
    return [(each["what"], each["control"], each["corpus"]) for each in run.report["cache"]["hits"]]


def test_a_second_run_makes_no_pass(measured):
    """It says what it took over, and comes to the same, byte for byte."""
    first = measured()
    second = measured()
    assert first.report["forward_passes"] == 6  # news: model, untrained, rotation; prose: model, shuffled, seed
    assert taken(first) == []
    assert second.report["forward_passes"] == 0
    assert taken(second) == [
        ("sweep", "", "news"),
        ("sweep", "rotation", "news"),
        ("sweep", "untrained", "news"),
        ("universality", "", "prose"),
        ("universality", "shuffled", "prose"),
    ]
    assert values(first) == values(second)
    assert first.summary == second.summary
    assert first.report["models"].keys() == second.report["models"].keys()
    second.result.stdout.fnmatch_lines(["Overall: *Forward passes: 0 (5 results are from the cache)."])


def test_without_a_place_for_a_cache_there_is_none(measured, trials):
    """Pytest's own cannot be made here; everything is measured all the same."""
    (trials.path / ".pytest_cache").write_text("a file")
    for _ in range(2):
        run = measured("-k", "kurtosis")
        assert run.report["forward_passes"] == 3
        assert taken(run) == []


@pytest.mark.parametrize("where", [(), ("--unineuron-cache=kept",)])
def test_cache_clear_empties_it(measured, trials, where):
    """Pytest's own as well as one that was named, of which it leaves what is not ours."""
    measured("-k", "kurtosis", *where)
    theirs = trials.path / "kept" / "theirs.txt"
    theirs.parent.mkdir(exist_ok=True)
    theirs.touch()
    assert measured("-k", "kurtosis", *where, "--cache-clear").report["forward_passes"] == 3
    assert measured("-k", "kurtosis", *where).report["forward_passes"] == 0
    assert theirs.exists()


def test_no_cache_neither_reads_nor_writes(measured, trials):
    """Whatever there is."""
    measured()
    before = sorted(trials.path.rglob("*.safetensors"))
    again = measured("--unineuron-no-cache", "--unineuron-tokens=500")
    assert again.report["forward_passes"] == 6
    assert measured("--unineuron-no-cache").report["forward_passes"] == 6
    assert sorted(trials.path.rglob("*.safetensors")) == before


@pytest.mark.parametrize("changed", ["--unineuron-tokens=500", "--unineuron-context=32", "--unineuron-dtype=float64"])
def test_what_depends_on_something_else_is_measured(measured, changed):
    """Another budget, context or precision is another result."""
    measured("-k", "kurtosis")
    other = measured("-k", "kurtosis", changed)
    assert other.report["forward_passes"] == 3
    assert taken(other) == []


def test_another_text_is_another_result(measured, trials):
    """By content: under another name the same text is the same."""
    for name in ("one", "two", "three"):
        last = "ends." if name == "three" else "ends"
        lines = [json.dumps({"text": f"The document number {n} " * 20 + last}) for n in range(4)]
        (trials.path / f"{name}.jsonl").write_text("\n".join(lines))
    runs = [measured("-k", "kurtosis", f"--unineuron-corpus={name}.jsonl") for name in ("one", "two", "three")]
    assert [run.report["forward_passes"] for run in runs] == [6, 0, 3]  # news is there too


def test_other_weights_are_another_result(two_seeds, trials, tmp_path):
    """In the very same folder."""
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "model"
    shutil.copytree(two_seeds[0], folder)
    trials.write("import numpy as np\n" + MEASURES)
    given = (*ARGS, "-k", "kurtosis", f"--unineuron-model={folder}")
    assert [trials.run(*given).report["forward_passes"] for _ in range(2)] == [3, 0]
    weights = {name: tensor * 1.5 for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert trials.run(*given).report["forward_passes"] == 3


def test_a_damaged_entry_is_measured_again(measured, trials):
    """And the report says which."""
    measured("-k", "kurtosis")
    for path in trials.path.rglob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-1])
    again = measured("-k", "kurtosis")
    assert again.report["forward_passes"] == 3
    assert len(again.report["cache"]["notes"]) == 3
    again.result.stdout.fnmatch_lines(["CACHE: cache entry *.safetensors cannot be used and is computed again*"])
    assert measured("-k", "kurtosis").report["cache"]["notes"] == []


def test_workers_share_it(measured):
    """Whatever the distribution of items, everything is swept once on a machine."""
    given = ("-k", "kurtosis", "--unineuron-cache=kept")
    assert measured(*given, "-n", "2", "--dist=worksteal", subprocess=True).report["forward_passes"] == 3
    assert measured(*given).report["forward_passes"] == 0


def test_under_a_lock_nothing_is_taken_over(measured):
    """Neither when it is written nor when it is tested."""
    measured("--unineuron-cache=kept")
    measured("--unineuron-cache=kept", "--unineuron-write-lock=claim.lock")
    locked = measured("--unineuron-cache=kept", "--unineuron-lock=claim.lock")
    assert locked.report["forward_passes"] == 6
    assert taken(locked) == []


def test_without_a_cache_of_pytest_there_is_none(measured, trials):
    """Unless one is named."""
    measured("-p", "no:cacheprovider", "-k", "kurtosis")
    assert measured("-p", "no:cacheprovider", "-k", "kurtosis").report["forward_passes"] == 3
    assert not list(trials.path.rglob("*.safetensors"))
