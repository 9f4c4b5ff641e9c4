"""The progress bar of a pass, with the time left for the whole run."""

import io
import re

import pytest

from pytest_unineuron.lab.runs import ShownBatches
from pytest_unineuron.plugin import progress


@pytest.fixture
def terminal(monkeypatch):
    """A terminal on which every batch is drawn."""
    monkeypatch.setattr(progress, "DELAY_SECONDS", -1)
    monkeypatch.setattr(progress, "INTERVAL_SECONDS", -1)
    return io.StringIO()


def test_a_bar_says_which_pass_it_is_and_what_is_left(terminal):
    """Batches come out in order, and passes are counted over the whole run."""
    bar = progress.Bar(terminal, lambda: 0, lambda: 3)
    for arm in ("neox-a", "neox-a~untrained"):
        assert list(bar.wrap_batches(f"{arm} on prose")(range(4))) == [0, 1, 2, 3]
    shown = terminal.getvalue()
    assert "neox-a on prose:  25%" in shown
    assert "pass 1 of 3" in shown
    assert "pass 2 of 3" in shown
    assert all(len(line) <= 79 for line in re.findall(r"\r([^\r\x1b]+)\x1b", shown))


def test_a_pass_over_a_part_of_a_text_is_not_counted(terminal):
    """Such passes are not planned. Batches can be counted and cut, and are drawn whenever they are read in turn."""
    bar = progress.Bar(terminal, lambda: 0, lambda: 3)
    batches = ShownBatches(range(6), bar.wrap_batches("neox-a on prose, ablation effects", part=True))
    assert (len(batches), batches[0]) == (6, 0)
    assert list(batches[::2]) == [0, 2, 4]
    assert list(batches) == list(range(6))
    assert "neox-a on prose, ablation effects:  33%" in terminal.getvalue()
    assert "pass" not in terminal.getvalue()
    list(bar.wrap_batches("neox-a on prose")(range(4)))
    assert "pass 1 of 3" in terminal.getvalue()


def test_a_run_with_more_passes_than_planned_has_no_time_left(terminal):
    """Passes of seeds are not planned; the bar then shows the pass alone."""
    bar = progress.Bar(terminal, lambda: 0, lambda: 1)
    for _ in range(2):
        list(bar.wrap_batches("seed")(range(2)))
    assert "pass 2 of" not in terminal.getvalue()
