"""Any budget, kept to in any way, gives the same results."""

import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_unineuron.corpora.blocks import to_blocks
from pytest_unineuron.corpora.find import find_corpus
from pytest_unineuron.lab.serialize import packed
from pytest_unineuron.models.discovery.anatomy import dissect
from pytest_unineuron.models.loading.load import LoadedModel
from pytest_unineuron.universality import match, spill
from pytest_unineuron.universality.cost import Task
from pytest_unineuron.universality.seeds import Counterpart, task_of
from pytest_unineuron.universality.units import KINDS, Member
from pytest_unineuron.universality.ways import Rates
from tests.models.tiny import build, tokenizer


@cache
def member(architecture="gpt2", seed=0, dtype=torch.float32):
    model = build(architecture, seed=seed).to(dtype)
    return Member(model, dissect(LoadedModel(model, tokenizer(), "", None)))


@cache
def read(tokens=512):
    return tuple(to_blocks(find_corpus("news"), tokenizer(), context=64, budget=1500).batches(tokens))


SLOW, QUICK = 1e-3, 1e12
"""Bytes per second of a disk that nobody would use, and of one that anybody would."""


@pytest.fixture(autouse=True, scope="module")
def small_batches():
    """Tiny models have hardly any products beside a batch: here batches take nothing."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("working", "comparing", "drawing"):
            patch.setattr(Task, name, 0)
        yield


def compared(memory, *, rates=None, room=0.0, dtype=torch.float32, batches=None, **kwargs):
    batches = batches or read()
    seeds = [Counterpart(member(seed=seed, dtype=dtype), batches, room=room) for seed in (3, 5)]
    return match.match(member(dtype=dtype), batches, seeds, memory=memory, rates=rates, **kwargs)


def task(dtype=torch.float32):
    seeds = [Counterpart(member(seed=seed, dtype=dtype), read(), room=0) for seed in (3, 5)]
    return task_of(member(dtype=dtype), read(), seeds)


@cache
def whole(dtype=torch.float32):
    return compared(8e9, dtype=dtype, room=1e9)


def agree(found, expected, atol):
    for kind, seeds in expected.items():
        for one, two in zip(found[kind], seeds, strict=True):
            for a, b in zip(one.choice.all, two.choice.all, strict=True):
                np.testing.assert_array_equal(a.partner, b.partner)
                np.testing.assert_allclose(a.correlation, b.correlation, atol=atol)
            np.testing.assert_allclose(one.choice.raw, two.choice.raw, atol=atol)
            for a, b in zip(one.pairs, two.pairs, strict=True):
                np.testing.assert_allclose(a.correlation, b.correlation, atol=atol)


@settings(deadline=None, max_examples=6)
@given(st.floats(0.05, 1), st.sampled_from([SLOW, QUICK]), st.sampled_from([0.0, 3e6]))
def test_any_budget_in_any_way_gives_the_same(share, disk, room):
    """Many blocks or few; activations in memory, on disk or computed again."""
    memory = task().least + share * task().cross
    agree(compared(memory, rates=Rates(forward=1, write=disk, read=disk), room=room), whole(), atol=1e-6)


def test_any_budget_gives_the_same_in_float64():
    """To 1e-12."""
    double = torch.float64
    found = compared(task(double).least + task(double).cross // 5, rates=Rates(1, QUICK, QUICK), dtype=double)
    agree(found, whole(double), atol=1e-12)


def test_it_is_announced_once_and_has_one_bar():
    """One line before anything is read, one bar over all blocks; with one block nothing is said."""
    said, bars = [], []

    def progress(steps):
        bars.append(len(steps))
        yield from steps
        bars.append("done")

    memory = task().least + task().cross // 4
    compared(memory, announce=said.append, progress=progress, title="a on news with 2 seeds")
    (line,) = said
    blocks = len(task().blocks(memory))
    assert blocks > 3
    assert line.startswith("a on news with 2 seeds: ")
    assert f" {blocks} blocks within " in line or "activations kept in memory" in line
    choosing, reading = (sum(b.n_compared > 0 for b in read() if b.group % 2 == half) for half in (0, 1))
    assert bars[1:] == ["done"]
    assert (bars[0] - reading) % choosing == 0
    assert (bars[0] - reading) // choosing == int(line.split(": ")[1].split()[0])
    compared(8e9, announce=said.append)
    assert len(said) == 1


def files():
    return list(Path(tempfile.gettempdir()).glob("unineuron-*"))


def test_what_is_spilled_is_gone_afterwards(monkeypatch, tmp_path):
    """Also after an error, and nothing is left by the measurement of the disk."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made = []
    real = spill.Spill.write
    monkeypatch.setattr(spill.Spill, "write", lambda self, *given: (made.append(0), real(self, *given)))
    memory = task().least + task().cross // 4
    compared(memory, rates=Rates(1, QUICK, QUICK))
    assert made
    broken = member(dtype=torch.float32)

    def fails(batch, *args):
        if len(seen) > 1:
            raise RuntimeError("broken")
        seen.append(batch)
        return Member.observe(broken, batch, *args)

    seen = []
    monkeypatch.setattr(broken, "observe", fails)
    with pytest.raises(RuntimeError, match="broken"):
        compared(memory, rates=Rates(1, QUICK, QUICK))
    assert spill.rates()[2] > 0
    del made[:]
    assert files() == []


def test_a_disk_that_is_full_costs_time_and_nothing_else(monkeypatch):
    """Whether it was full before, or becomes so in between: what cannot be spilled is computed again."""
    memory = task().least + task().cross // 4
    left, real = [3], spill.Spill.write

    def full(*_):
        raise OSError(28, "No space left on device")

    def fuller(self, *given):
        left[0] -= 1
        return real(self, *given) if left[0] > 0 else full()

    monkeypatch.setattr(spill.Spill, "write", fuller)
    agree(compared(memory, rates=Rates(1, QUICK, QUICK)), whole(), atol=1e-6)
    assert left[0] < 0
    monkeypatch.setattr(spill, "rates", full)
    said = []
    agree(compared(memory, announce=said.append), whole(), atol=1e-6)
    assert "recomputed" in said[0]
    assert "spilling" not in said[0]


def test_parts_are_named_by_all_they_depend_on():
    """What another attempt may cut in another way is not taken for a part of it."""

    def names(memory, *, seeds=None, subject=None):
        seen = []

        def keep(name, make):
            seen.append(name)
            return make()

        seeds = seeds or [Counterpart(member(seed=3), read(), room=0)]
        match.match(subject or member(), read(), seeds, memory=memory, rates=Rates(1, QUICK, QUICK), compute_part=keep)
        return seen

    seeds = [Counterpart(member(seed=3), read(), room=0)]
    tight = task_of(member(), read(), seeds)
    one, four = (names(memory) for memory in (8e9, tight.least + tight.cross // 4))
    assert names(8e9) == one
    assert not set(one[:-1]) & set(four[:-1])
    assert one[-1] == four[-1]  # the same pairs are read, however they were chosen
    first, again = names(8e9, seeds=seeds), names(8e9, seeds=seeds)
    assert first == one
    assert first[0] != again[0]  # what lies within layers of the seed is known by then
    assert names(8e9, subject=member(seed=5))[-1] != one[-1]


def test_tensors_come_back_from_the_disk():
    """In any layout; layer by layer."""
    one, two = torch.randn(5, 3), torch.randn(4, 2, dtype=torch.float64)
    store = spill.Spill()
    store.write("one", one)
    store.write(("two", 2), two.T)
    found = torch.zeros(5, 9)
    store.read("one", found[:, 2:5])
    assert torch.equal(found[:, 2:5], one)
    back = torch.zeros(2, 4, dtype=torch.float64)
    store.read(("two", 2), back)
    assert torch.equal(back, two.T)
    store.close()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_batches_do_not_matter(dtype):
    """To 1e-9 in float64; heads are left out, as what is usual for them is a mean over a batch."""
    kinds = KINDS[:3]
    few, many = (compared(8e9, batches=read(tokens), dtype=dtype, kinds=kinds) for tokens in (128, 1024))
    atol = 1e-9 if dtype == torch.float64 else 1e-5
    for kind in kinds:
        for one, two in zip(few[kind], many[kind], strict=True):
            for a, b in zip(one.choice.all, two.choice.all, strict=True):
                assert a.correlation.dtype == dtype
                np.testing.assert_allclose(a.correlation, b.correlation, atol=atol)


def test_what_is_kept_on_disk_is_as_large_as_planned():
    """To the byte."""
    _, tensors = packed(whole())
    assert sum(tensor.nbytes for tensor in tensors.values()) == task().entry
