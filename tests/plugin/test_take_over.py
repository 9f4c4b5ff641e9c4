"""Which items the scheduler sends to which worker, with workers that only note what they get."""

import json

import pytest

from pytest_unineuron.models.loading.source import sources_by_label
from pytest_unineuron.options.settings import Settings
from pytest_unineuron.plugin.scheduling import ModelScheduling, units_of
from pytest_unineuron.system import machine

MODEL = [f"t.py::test_{number}[gpt2-a]" for number in range(3)]
NEWS, CODE = (
    [f"t.py::test_{number}[gpt2-a-{text}{arm}]" for number in range(2) for arm in ("", "~untrained")]
    for text in ("news", "code")
)
OTHER = [f"t.py::test_{number}[neox-a]" for number in range(2)]
COLLECTED = [*MODEL, *NEWS, *CODE, *OTHER]


class Worker:
    """A worker that runs nothing: ``got`` are the items that it was sent."""

    def __init__(self, name, scheduler):
        self.gateway = type("Gateway", (), {"id": name})
        self.shutting_down = False
        self.got = []
        self._scheduler = scheduler
        scheduler.add_node(self)
        scheduler.add_node_collection(self, COLLECTED)

    def send_runtest_some(self, indices):
        self.got += [COLLECTED[index] for index in indices]

    def shutdown(self):
        self.shutting_down = True

    def finish(self, item):
        self._scheduler.mark_test_complete(self, COLLECTED.index(item))


@pytest.fixture
def make(pytester):
    """A function that makes a scheduler of two models and three texts, with two workers."""

    def make(models=("nano:gpt2-a", "nano:neox-a")):
        config = pytester.parseconfig("--tx=2*popen")
        sources = dict(zip(("gpt2-a", "neox-a"), sources_by_label(models).values(), strict=True))
        scheduler = ModelScheduling(config, None, sources, Settings(memory=1), ["news", "code", "code-b", "gpt2"])
        workers = [Worker(name, scheduler) for name in ("first", "second")]
        scheduler.schedule()
        return scheduler, *workers

    return make


def test_a_worker_whose_model_is_done_takes_over_the_last_text(make):
    """The other one goes on with its own model, and both end when nothing is left."""
    _, first, second = make()
    assert (first.got, second.got) == (MODEL, OTHER)
    second.finish(OTHER[0])
    assert second.got == OTHER + CODE
    first.finish(MODEL[0])
    first.finish(MODEL[1])
    assert first.got == MODEL + NEWS
    assert first.shutting_down
    assert second.shutting_down


def test_items_of_a_worker_that_died_go_to_its_replacement_after_a_take_over(make):
    """Also where another worker still runs a text of the same model, and will get nothing more."""
    scheduler, first, second = make()
    second.finish(OTHER[0])
    first.finish(MODEL[0])
    first.finish(MODEL[1])
    assert second.shutting_down
    assert scheduler.remove_node(first) == MODEL[2]
    third = Worker("third", scheduler)
    scheduler.schedule()
    assert sorted(third.got) == sorted(NEWS)


def test_no_text_is_taken_over_of_a_model_that_does_not_fit_twice(make, tmp_path):
    """A big and a small model fit into memory together, two copies of the big one do not."""
    free = machine.free_memory()
    if free is None:
        pytest.skip("the system does not say how much memory is free")
    table = json.dumps({"w": {"dtype": "F16", "shape": [free // 14], "data_offsets": [0, 0]}}).encode()
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(len(table).to_bytes(8, "little") + table)  # 57 % in float32, twice
    _, first, second = make((str(tmp_path), "untrained:nano:neox-a"))
    second.finish(OTHER[0])
    assert (first.got, second.got) == (MODEL, OTHER)
    assert second.shutting_down
    first.finish(MODEL[0])
    first.finish(MODEL[1])
    assert first.got == MODEL + NEWS


def test_only_texts_on_which_all_arms_are_measured_are_units():
    """A model that is measured arm by arm stays on one worker, so that each control is made once."""

    def units(*items):
        return [
            text for _, text in units_of([("m", item.rstrip("~")) for item in items], [i[-1:] == "~" for i in items])
        ]

    assert units("", "", "news", "news~", "code", "code~") == ["", "", "news", "news", "code", "code"]
    assert units("", "news", "code", "", "news~", "code~") == [""] * 6
    assert units("news", "code", "", "news", "news~") == ["", "", "", "news", "news"]
    places = [("m", "news"), ("", ""), ("m", "news"), ("n", "news")]
    assert units_of(places, [False, False, True, True]) == [*places[:3], ("n", "")]


def test_a_text_is_known_by_the_whole_of_its_label(make):
    """Labels of models and of texts may begin with one another, and end with what looks like a control."""
    scheduler, *_ = make()
    cases = {
        "[gpt2-a]": ("gpt2-a", ""),
        "[gpt2-a-news]": ("gpt2-a", "news"),
        "[gpt2-a-code-b~untrained.2-1]": ("gpt2-a", "code-b"),
        "[gpt2-a-newspaper]": ("gpt2-a", ""),
        "[gpt2-a~untrained-news]": ("gpt2-a", ""),
        "[news]": ("", ""),
    }
    assert {case: scheduler.unit_of(f"evals/test_x.py::test_x{case}") for case in cases} == cases
