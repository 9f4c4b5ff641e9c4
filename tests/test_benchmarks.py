"""Benchmarks are run by hand; what they make of their numbers is tested."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import table
from benchmarks.__main__ import ORDER, QUESTIONS, SHAPE, TURNS, USUAL, main
from benchmarks.answer import Answer
from benchmarks.timing import Spread, interleaved, timed

ROOT = Path(__file__).parent.parent
MADE = {"command": "python -m benchmarks", "date": "2026-01-31", "device": "2 CPU cores", "versions": {"torch": "2"}}


def answer(name="sweep", *, seconds=(2.0, 3.0, 4.0)):
    spread = Spread(seconds)
    rows = (
        ("the pass alone", spread, spread.over(spread), None),
        ("a | b", spread, spread.over(Spread((1.0,) * 3)), 1.15),
    )
    return Answer(name, f"What {name} costs", ("what", "seconds", "× alone", "target"), rows, "A note.")


# -- numbers --------------------------------------------------------------------------------------------------


def test_few_values_spread_from_the_least_to_the_largest():
    assert (Spread((3.0, 1.0, 2.0)).median, Spread((3.0, 1.0, 2.0)).low, Spread((3.0, 1.0, 2.0)).high) == (2, 1, 3)


def test_from_four_on_the_spread_is_quartiles():
    spread = Spread((1.0, 2.0, 3.0, 4.0, 100.0))
    assert (spread.low, spread.median, spread.high) == (2, 3, 4)


def test_ratios_and_differences_are_made_within_a_turn():
    """A machine that is half as fast in the second turn leaves them alone."""
    ours, alone = Spread((1.1, 2.2)), Spread((1.0, 2.0))
    assert ours.over(alone).values == pytest.approx((1.1, 1.1))
    assert ours.less(alone).times(1000).values == pytest.approx((100, 200))
    with pytest.raises(ValueError, match="zip"):
        ours.over(Spread((1.0,)))


def test_variants_take_turns_and_none_always_comes_first():
    order = []

    def variant(name):
        return lambda: order.append(name) or float(len(order))

    found = interleaved({"a": variant("a"), "b": variant("b")}, 3, warm=[variant("warm")])
    assert order == ["warm", "a", "b", "b", "a", "a", "b"]
    assert found == {"a": Spread((2.0, 5.0, 6.0)), "b": Spread((3.0, 4.0, 7.0))}


def test_a_variant_may_say_when_its_time_began(monkeypatch):
    clock = iter([10.0, 17.0] * 2)
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    assert timed(lambda: None)() == 7
    assert timed(lambda: 12.0)() == 5


# -- tables ---------------------------------------------------------------------------------------------------


def test_both_files_say_the_same_and_what_made_them(tmp_path):
    table.write(tmp_path, [answer()], MADE, ORDER)
    kept = json.loads((tmp_path / table.NUMBERS).read_text(encoding="utf-8"))
    assert kept["sweep"]["made"] == MADE
    assert kept["sweep"]["rows"][0]["seconds"] == {"median": 3, "low": 2, "high": 4, "values": [2, 3, 4]}
    text = (tmp_path / table.TABLE).read_text(encoding="utf-8")
    assert text == table.markdown(kept)
    assert "`python -m benchmarks`, 2026-01-31, 2 CPU cores; torch 2." in text
    assert "|---|--:|--:|--:|" in text
    assert "| the pass alone | 3.00 (2.00–4.00) | 1.00 | – |" in text
    assert "| a \\| b | 3.00 (2.00–4.00) | 3.00 (2.00–4.00) | 1.15 |" in text


def test_what_is_not_asked_this_time_stays(tmp_path):
    table.write(tmp_path, [answer("growth")], MADE, ORDER)
    table.write(tmp_path, [answer("sweep")], MADE | {"date": "2026-02-01"}, ORDER)
    kept = json.loads((tmp_path / table.NUMBERS).read_text(encoding="utf-8"))
    assert [(name, of["made"]["date"]) for name, of in kept.items()] == [
        ("sweep", "2026-02-01"),
        ("growth", "2026-01-31"),
    ]


def test_at_best_compares_the_least():
    """One turn that was disturbed says nothing."""
    assert Spread((3.0, 9.0, 4.0)).over_at_best(Spread((2.0, 2.5, 8.0))) == 1.5


def test_a_row_that_does_not_fit_its_columns_is_refused():
    with pytest.raises(ValueError, match="zip"):
        Answer("sweep", "", ("what", "seconds"), (("alone",),)).as_dict()


@pytest.mark.parametrize(
    ("cell", "words"),
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
def test_numbers_are_as_long_as_they_are_worth(cell, words):
    assert table.words(cell) == words


# -- the command ----------------------------------------------------------------------------------------------


def test_help_needs_no_torch():
    script = (
        "import sys; from benchmarks.__main__ import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
        "print('HEAVY', *{'torch', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "--only WHAT" in done.stdout
    assert done.stdout.splitlines()[-1].strip() == "HEAVY"
    assert all(f"--{field}" in done.stdout for field in SHAPE)


def test_an_unknown_question_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["--only", "sweep,gpu"])
    assert "--only gpu: there are sweep, correlation" in capsys.readouterr().err


def test_every_question_has_its_turns_and_its_place():
    assert set(TURNS) == set(QUESTIONS) > set(USUAL)
    assert {name.partition("_")[0] for name in ORDER} == set(QUESTIONS)


def test_a_command_names_no_place(tmp_path):
    from benchmarks.__main__ import _command, _parser

    given = ["--out", str(tmp_path), "--envs", str(tmp_path), "--only", "sweep", "--peers", "--layers", "2"]
    assert _command(_parser(), _parser().parse_args(given)) == "python -m benchmarks --only sweep --peers --layers 2"


# -- pieces, on tiny models -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shape():
    from benchmarks.work import Shape

    return Shape(layers=2, width=64, neurons=96, vocabulary=64, context=16, rows=2)


def test_a_sweep_and_its_bound_are_measured(shape):
    from benchmarks import sweep

    found = sweep.answer(shape, batches=2, turns=1).as_dict()
    ratios = {row["what"]: row["× the pass alone"]["median"] for row in found["rows"]}
    assert ratios["the pass alone"] == ratios["the pass alone, bfloat16"] == 1
    assert [row["target"] for row in found["rows"] if row["target"]] == [1.15, 1.25]


def test_growth_is_per_token_and_per_pair(monkeypatch, shape):
    """With seconds that are known: what takes as long as there is work has 1 in every row."""
    from benchmarks import growth

    def known(variants, turns, warm):
        of = {"tokens": lambda n: n, "passes": lambda n: n, "pairs": lambda n: n + n**2}
        asked = {name: name.split() for name in variants}
        return {name: Spread((float(of[what](int(times))),)) for name, (what, times) in asked.items()}

    monkeypatch.setattr(growth, "interleaved", known)
    rows = growth.answer(shape, turns=1).as_dict()["rows"]
    assert [row["times as much"] for row in rows] == [1, 4, 16, 1, 4, 16]
    assert [row["per token or pair, against × 1"]["median"] for row in rows] == [1, 1, 1, 1, 0.75, 0.625]
    assert [row["beyond the passes"]["median"] for row in rows[3:]] == [1, 1, 1]


def test_by_hand_and_by_the_plugin_the_numbers_are_the_same(shape):
    """What other libraries gather is the same work, and the comparison would show if it were not."""
    import torch

    from benchmarks import comparison, work
    from benchmarks.peers import ours, sums
    from benchmarks.sweep import EXTREMES, swept
    from pytest_unineuron.activations.capture import capture_activations
    from pytest_unineuron.statistics.extremes import N_LARGEST

    member, ids = work.member(work.model(shape, 0), shape), work.ids(shape, 2)
    layers = sums.Layers(shape.layers, N_LARGEST)
    of_site = {"pre": layers.before, "post": layers.after}

    def receive(site, index, values, tokens):
        if site in of_site:
            of_site[site][index].take(values)

    with torch.inference_mode(), capture_activations(member.model, member.anatomy.layout, receive) as capture:
        for batch in ids:
            capture.forward(batch, torch.ones_like(batch))
    found = ours._picked(swept(member, work.text(ids), shape, EXTREMES), shape)
    assert comparison.deviation(layers.pick(), found) < 1e-4
    assert comparison.deviation(found, [2 * number for number in found]) == pytest.approx(0.5)
    assert comparison.deviation([1.0], found) is None


def test_memory_is_held_against_what_must_be_held():
    from benchmarks import memory
    from benchmarks.work import Shape

    shape = Shape()
    assert memory.of_pair(shape) == 4 * 9216**2 + 4 * 6 * 1536**2 + 8 * 2048 * 9216
    cells = memory.row("a pair", [memory.Peak(loaded=1e8, above=5e8, budget=6e8, blocks=2)], 4e8)
    assert cells[1:] == (100, Spread((500,)), 400, Spread((1.25,)), 600, 2, Spread((pytest.approx(6 / 7.2),)))
