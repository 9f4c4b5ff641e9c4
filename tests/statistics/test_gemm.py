"""Products of float32 on a CPU: the same numbers by whichever library makes them, and only where that applies."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional
from transformers import AutoConfig, AutoModelForCausalLM

from pytest_unineuron.statistics import gemm
from pytest_unineuron.system import machine


@pytest.fixture
def onednn(monkeypatch):
    """oneDNN multiplies whatever it can, however small; calls are counted."""
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this torch has no oneDNN")
    calls, real = [], gemm._onednn
    monkeypatch.setattr(gemm, "LEAST", 0)
    monkeypatch.setattr(gemm, "faster", lambda: True)
    monkeypatch.setattr(gemm, "_onednn", lambda x, y, bias: calls.append(x.shape) or real(x, y, bias))
    return calls


def laid_out(rows, columns, *, by_column, seed):
    """Numbers [row, column], of which those of a row lie one after the other, or those of a column."""
    drawn = torch.randn(rows * columns, generator=torch.Generator().manual_seed(seed))
    return drawn.view(columns, rows).T if by_column else drawn.view(rows, columns)


def forced(law):
    """Run a law with oneDNN, in several tiles, and with what torch takes by itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gemm, "LEAST", 0)
        patch.setattr(gemm, "TILE", 16)
        for there in (False, torch.backends.mkldnn.is_available()):
            patch.setattr(gemm, "faster", lambda there=there: there)
            law()


SIZES = st.integers(1, 40)


@given(rows=SIZES, columns=SIZES, features=SIZES, first=st.booleans(), second=st.booleans(), seed=st.integers(0, 99))
@settings(max_examples=100, deadline=None)
def test_a_product_is_that_of_float64(rows, columns, features, first, second, seed):
    x = laid_out(rows, features, by_column=first, seed=seed)
    y = laid_out(columns, features, by_column=second, seed=seed + 1)
    expected = x.double() @ y.double().T

    def law():
        torch.testing.assert_close(gemm.product(x, y).double(), expected, rtol=0, atol=1e-5 * features)

    forced(law)


@given(
    tokens=SIZES,
    one=SIZES,
    two=SIZES,
    first=st.booleans(),
    second=st.booleans(),
    start=st.integers(0, 20),
    seed=st.integers(0, 99),
)
@settings(max_examples=100, deadline=None)
def test_a_sum_of_products_is_that_of_float64_and_touches_nothing_else(tokens, one, two, first, second, start, seed):
    """Units laid out in any way, of some layers, into some cells of a larger product."""
    x = laid_out(tokens, one + start, by_column=first, seed=seed)[:, start:]
    y = laid_out(tokens, two + start, by_column=second, seed=seed + 1)[:, start:]
    before = laid_out(one + start, two + start, by_column=False, seed=seed + 2)
    expected = before.double()
    expected[start:, start:] += x.double().T @ y.double()

    def law():
        whole = before.clone()
        gemm.add_product(whole[start:, start:], x, y)
        torch.testing.assert_close(whole.double(), expected, rtol=0, atol=1e-5 * tokens)
        assert torch.equal(whole[:start], before[:start])

    forced(law)


@pytest.mark.parametrize(
    ("kind", "functions"),
    [
        (
            "gpt2",
            4 * 2,
        ),  # Conv1D: queries with keys and values, what attention writes, into the neurons and out of them
        ("gpt_neox", 4 * 2),
        ("llama", 7 * 2),  # no biases
    ],
)
def test_a_model_returns_the_same_but_for_rounding(onednn, kind, functions):
    sizes = {
        "hidden_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "vocab_size": 50,
        "intermediate_size": 60,
    }
    named = {"gpt2": {"n_embd": 24, "n_layer": 2, "n_head": 2, "vocab_size": 50, "n_inner": 60}}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **named.get(kind, sizes))).eval().base_model
    ids = torch.arange(30).view(2, 15)
    with torch.inference_mode():
        plain = model(ids)[0]
        assert not onednn
        with gemm.fast_linear(model):
            found = model(ids)[0]
    assert len(onednn) == functions
    torch.testing.assert_close(found, plain, rtol=1e-4, atol=1e-5)


class Doubled(torch.Tensor):
    """Stands for quantised weights and the like: a tensor with rules of its own."""


@pytest.mark.parametrize(
    "left",
    ["float64", "bfloat16", "differentiated", "a tensor of another kind", "switched off", "weights with gaps", "few"],
)
def test_all_else_is_left_to_torch(onednn, monkeypatch, left):
    x, y = torch.randn(4, 6), torch.randn(5, 6)
    if left in ("float64", "bfloat16"):
        x, y = x.to(getattr(torch, left)), y.to(getattr(torch, left))
    if left == "differentiated":
        y.requires_grad_()
    if left == "a tensor of another kind":
        y = y.as_subclass(Doubled)
    if left == "weights with gaps":
        y = torch.randn(5, 12)[:, ::2]
    if left == "few":
        monkeypatch.setattr(gemm, "LEAST", 4 * 5 * 6 + 1)
    if left == "switched off":
        monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    with gemm.fast_linear(torch.nn.Linear(1, 1)):
        assert torch.equal(gemm.product(x, y), x @ y.T)
        assert torch.equal(functional.linear(x, y), x @ y.T)
    assert not onednn


def test_gradients_still_reach_what_is_differentiated(onednn):
    layer = torch.nn.Linear(6, 5)
    with gemm.fast_linear(layer):
        layer(torch.randn(4, 6)).sum().backward()
    assert layer.weight.grad is not None
    assert not onednn


def test_not_a_number_stays_one(onednn):
    x = torch.ones(4, 6)
    x[1, 2] = torch.nan
    found = gemm.product(x, torch.ones(5, 6))
    assert onednn
    assert found.isnan().any(dim=1).tolist() == [False, True, False, False]


# -- whether it is faster -------------------------------------------------------------------------------------


@pytest.fixture
def asked(monkeypatch):
    """Ask anew on a processor that is not Intel's and knows AVX-512."""
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this torch has no oneDNN")
    monkeypatch.setattr(machine, "intel", lambda: False)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    return gemm.faster.__wrapped__


def test_it_is_taken_where_mkl_has_no_use_for_the_processor(asked, monkeypatch):
    assert asked()
    monkeypatch.setattr(machine, "intel", lambda: True)
    assert not asked()


@pytest.mark.parametrize("broken", ["missing", "other arguments", "wrong"])
def test_a_torch_whose_function_is_another_is_noticed(asked, monkeypatch, broken):
    def found(x, y, bias):
        if broken == "missing":
            raise AttributeError("'_OpNamespace' 'mkldnn' object has no attribute '_linear_pointwise'")
        if broken == "other arguments":
            raise RuntimeError("mkldnn::_linear_pointwise() expected at most 5 argument(s)")
        return x @ y.T

    monkeypatch.setattr(gemm, "_onednn", found)
    assert not asked()


@pytest.mark.parametrize(("faster", "kind"), [(False, torch.float32), (True, torch.bfloat16)])
def test_where_it_is_not_faster_nothing_is_watched(monkeypatch, faster, kind):
    monkeypatch.setattr(gemm, "faster", lambda: faster)
    with gemm.fast_linear(torch.nn.Linear(3, 4).to(kind)):
        assert not torch.overrides._get_current_function_mode_stack()
