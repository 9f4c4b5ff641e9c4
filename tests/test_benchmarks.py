"""The functions and tables of the benchmarks, which themselves are run by hand."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks import results_file
from benchmarks.__main__ import DEFAULT_BENCHMARKS, REPEATS, RESULT_ORDER, SIZES, command_line, main, make_parser
from benchmarks.result import BenchmarkResult
from benchmarks.timing import Samples, interleave, timed

ROOT = Path(__file__).parent.parent
PROVENANCE = {
    "command": "python -m benchmarks",
    "date": "2026-01-31",
    "machine": "2 CPU cores",
    "versions": {"torch": "2"},
}


def result(name="sweep", *, seconds=(2.0, 3.0, 4.0)):
    samples = Samples(seconds)
    rows = (
        ("forward pass", samples, samples.ratio_to(samples), None),
        ("a | b", samples, samples.ratio_to(Samples((1.0,) * 3)), 1.15),
    )
    return BenchmarkResult(name, f"Cost of {name}", ("what", "seconds", "× forward pass", "target"), rows, "A note.")


# -- numbers --------------------------------------------------------------------------------------------------


def test_the_spread_of_few_values_is_their_minimum_and_maximum():
    samples = Samples((3.0, 1.0, 2.0))
    assert (samples.low, samples.median, samples.high) == (1, 2, 3)


def test_the_spread_of_four_values_or_more_is_their_quartiles():
    samples = Samples((1.0, 2.0, 3.0, 4.0, 100.0))
    assert (samples.low, samples.median, samples.high) == (2, 3, 4)


def test_ratios_and_differences_are_taken_within_a_turn():
    """A machine that is half as fast in the second turn does not change them."""
    plugin, forward = Samples((1.1, 2.2)), Samples((1.0, 2.0))
    assert plugin.ratio_to(forward).values == pytest.approx((1.1, 1.1))
    assert plugin.minus(forward).scaled(1000).values == pytest.approx((100, 200))
    with pytest.raises(ValueError, match="zip"):
        plugin.ratio_to(Samples((1.0,)))


def test_the_ratio_of_minima_ignores_disturbed_turns():
    assert Samples((3.0, 9.0, 4.0)).ratio_of_minima(Samples((2.0, 2.5, 8.0))) == 1.5


def test_variants_take_turns_and_each_turn_starts_with_the_next_one():
    order = []

    def variant(name):
        return lambda: order.append(name) or float(len(order))

    samples = interleave({"a": variant("a"), "b": variant("b")}, 3, warm_up=[variant("warm-up")])
    assert order == ["warm-up", "a", "b", "b", "a", "a", "b"]
    assert samples == {"a": Samples((2.0, 5.0, 6.0)), "b": Samples((3.0, 4.0, 7.0))}


def test_a_timed_function_may_return_when_its_preparations_ended(monkeypatch):
    clock = iter([10.0, 17.0] * 2)
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    assert timed(lambda: None)() == 7
    assert timed(lambda: 12.0)() == 5


# -- tables ---------------------------------------------------------------------------------------------------


def test_markdown_and_json_hold_the_same_numbers_and_their_provenance(tmp_path):
    results_file.write_results(tmp_path, [result()], PROVENANCE, RESULT_ORDER)
    stored = json.loads((tmp_path / results_file.JSON).read_text(encoding="utf-8"))
    assert stored["sweep"]["provenance"] == PROVENANCE
    assert stored["sweep"]["rows"][0]["seconds"] == {"median": 3, "low": 2, "high": 4, "values": [2, 3, 4]}
    text = (tmp_path / results_file.MARKDOWN).read_text(encoding="utf-8")
    assert text == results_file.render_results(stored)
    assert "`python -m benchmarks`, 2026-01-31, 2 CPU cores; torch 2." in text
    assert "|---|--:|--:|--:|" in text
    assert "| forward pass | 3.00 (2.00–4.00) | 1.00 | – |" in text
    assert "| a \\| b | 3.00 (2.00–4.00) | 3.00 (2.00–4.00) | 1.15 |" in text


def test_the_published_tables_are_those_of_the_published_numbers():
    folder = ROOT / "benchmarks"
    stored = json.loads((folder / results_file.JSON).read_text(encoding="utf-8"))
    assert (folder / results_file.MARKDOWN).read_text(encoding="utf-8") == results_file.render_results(stored)


def test_results_of_benchmarks_that_do_not_run_stay(tmp_path):
    results_file.write_results(tmp_path, [result("growth")], PROVENANCE, RESULT_ORDER)
    results_file.write_results(tmp_path, [result("sweep")], PROVENANCE | {"date": "2026-02-01"}, RESULT_ORDER)
    stored = json.loads((tmp_path / results_file.JSON).read_text(encoding="utf-8"))
    assert [(name, of_name["provenance"]["date"]) for name, of_name in stored.items()] == [
        ("sweep", "2026-02-01"),
        ("growth", "2026-01-31"),
    ]


def test_a_row_that_does_not_fit_the_columns_is_refused():
    with pytest.raises(ValueError, match="zip"):
        BenchmarkResult("sweep", "", ("what", "seconds"), (("forward pass",),)).as_dict()


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (None, "–"),
        ("none", "none"),
        (0, "0"),
        (12345, "12 345"),
        (1234.5, "1 234"),
        (12.34, "12.3"),
        (1.234, "1.23"),
        (0.0000012, "1e-06"),
        (-0.5, "-0.50"),
    ],
)
def test_a_cell_shows_the_digits_that_were_measured(cell, text):
    assert results_file.format_cell(cell) == text


# -- the command ----------------------------------------------------------------------------------------------


def test_help_is_shown_without_importing_torch():
    script = (
        "import sys; from benchmarks.__main__ import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
        "print('HEAVY', *{'torch', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "--only NAME" in done.stdout
    assert done.stdout.splitlines()[-1].strip() == "HEAVY"
    assert all(f"--{field}" in done.stdout for field in SIZES)


def test_an_unknown_benchmark_is_refused_with_the_names_of_all(capsys):
    with pytest.raises(SystemExit):
        main(["--only", "sweep,gpu"])
    assert "--only gpu: no such benchmark; choose from sweep, correlation" in capsys.readouterr().err


def test_every_benchmark_has_a_place_in_the_results():
    assert set(REPEATS) > set(DEFAULT_BENCHMARKS)
    assert {name.partition("_")[0] for name in RESULT_ORDER} == set(REPEATS)


def test_the_published_command_holds_no_paths(tmp_path):
    given = ["--out", str(tmp_path), "--envs", str(tmp_path), "--only", "sweep", "--peers", "--layers", "2"]
    options = make_parser().parse_args(given)
    assert command_line(make_parser(), options) == "python -m benchmarks --only sweep --peers --layers 2"


# -- parts of benchmarks, on tiny models ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def workload():
    """A tiny workload, on one thread: more threads slow it down."""
    import torch

    from benchmarks.workload import Workload

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Workload(layers=2, width=64, neurons=96, vocabulary=64, context=16, rows=2)
    torch.set_num_threads(threads)


def test_statistics_are_compared_with_a_forward_pass_by_the_same_products(workload):
    from benchmarks import sweep

    table = sweep.run(workload, batches=2, repeats=1).as_dict()
    ratios = {row["what"]: row["× forward pass, same products"]["median"] for row in table["rows"]}
    assert ratios[sweep.FORWARD] == ratios[sweep.FORWARD + sweep.BFLOAT16] == 1
    assert [row["target"] for row in table["rows"] if row["target"]] == [1.15, 1.25]


def test_a_comparison_is_measured_against_a_lower_bound_by_the_same_products(workload):
    from benchmarks import correlation

    table = correlation.run(workload, batches=2, repeats=1).as_dict()
    ratios = {row["what"]: row["× lower bound, same products"]["median"] for row in table["rows"]}
    assert ratios[correlation.BOUND] == 1
    assert [row["what"] for row in table["rows"] if row["target"]] == [correlation.SUMS]


def test_growth_is_relative_to_tokens_and_pairs(monkeypatch, workload):
    """Seconds that are proportional to the work give 1 in every row."""
    from benchmarks import growth

    def fake_seconds(variants, repeats, warm_up):
        seconds = {"tokens": lambda n: n, "passes": lambda n: n, "pairs": lambda n: n + n**2}
        named = {name: name.split() for name in variants}
        return {name: Samples((float(seconds[what](int(factor))),)) for name, (what, factor) in named.items()}

    monkeypatch.setattr(growth, "interleave", fake_seconds)
    rows = growth.run(workload, repeats=1).as_dict()["rows"]
    assert [row["factor"] for row in rows] == [1, 4, 16, 1, 4, 16]
    relative = [row["seconds per token or pair, relative to factor 1"]["median"] for row in rows]
    assert relative == [1, 1, 1, 1, 0.75, 0.625]
    assert [row["the same without forward passes"]["median"] for row in rows[3:]] == [1, 1, 1]


def test_statistics_by_hand_are_those_of_the_plugin(workload):
    """Other libraries must do the same work, so their numbers are compared."""
    import torch

    from benchmarks import peer_comparison
    from benchmarks import workload as work
    from benchmarks.peers import by_hand, plugin
    from benchmarks.sweep import MOMENTS_AND_LARGEST, sweep_once
    from pytest_unineuron.activations.capture import capture_activations
    from pytest_unineuron.statistics.extremes import N_LARGEST

    (model,), ids = work.random_models(workload, 1), work.random_ids(workload, 2)
    sums = by_hand.ModelSums(workload.layers, N_LARGEST)
    layers_at = {"pre": sums.pre, "post": sums.post}

    def receive(site, index, values, tokens):
        if site in layers_at:
            layers_at[site][index].update(values)

    with torch.inference_mode(), capture_activations(model.model, model.anatomy.layout, receive) as capture:
        for batch in ids:
            capture.forward(batch, torch.ones_like(batch))
    numbers = plugin.means_by_layer(sweep_once(model, work.as_corpus(ids), workload, MOMENTS_AND_LARGEST), workload)
    assert peer_comparison.largest_difference(sums.numbers(), numbers) < 1e-4
    assert peer_comparison.largest_difference(numbers, [2 * number for number in numbers]) == pytest.approx(0.5)
    assert peer_comparison.largest_difference([1.0], numbers) is None


def test_libraries_are_compared_with_the_lower_bound_that_multiplies_as_they_do():
    from benchmarks import peer_comparison
    from benchmarks.peers import plugin

    @dataclass
    class Process:
        name: str
        numbers: dict

    names = plugin.NAMES["sweep"]
    plugin_process = Process(plugin.NAME, {("sweep", names.work): [1.0]})
    peer_process = Process("a library", {("sweep", "hooks"): [1.5]})
    tasks = [
        *(
            peer_comparison.PeerTask(plugin_process, "sweep", name)
            for name in (names.bound, names.torch_bound, names.work)
        ),
        peer_comparison.PeerTask(peer_process, "sweep", "hooks"),
    ]
    seconds = [Samples((value,)) for value in (1.0, 2.0, 1.5, 3.0)]
    of_work, of_peer = list(peer_comparison.rows(tasks, seconds))[2:]
    assert of_work[3:] == (Samples((1.5,)), Samples((0.75,)), None, None)
    assert of_peer[3:] == (Samples((1.5,)), Samples((1.5,)), Samples((2.0,)), 0.5)


def test_peak_memory_is_compared_with_what_must_be_in_memory():
    from benchmarks import memory
    from benchmarks.workload import Workload

    assert memory.sums_bytes(Workload()) == 4 * 9216**2 + 4 * 6 * 1536**2 + 8 * 2048 * 9216
    peak = memory.PeakMemory(loaded=1e8, above=5e8, budget=6e8, blocks=2)
    cells = memory.row("sums", [peak], 4e8)
    assert cells[1:] == (100, Samples((500,)), 400, Samples((1.25,)), 600, 2, Samples((pytest.approx(6 / 7.2),)))


def test_a_budget_of_nothing_stands_for_the_least_that_a_comparison_takes(workload):
    from benchmarks import peak_memory
    from benchmarks import workload as work

    batches = work.as_corpus(work.random_ids(workload, 2)).batches(workload.batch_tokens)
    facts = peak_memory.compare(work.random_models(workload, 2), batches, 0)
    assert facts["budget"] > 0
    assert facts["blocks"] > 1
