"""Products of float32 matrices on a CPU: equal by either library, and by oneDNN only where it applies."""

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoConfig, AutoModelForCausalLM

from pytest_unineuron.statistics import gemm
from pytest_unineuron.system import machine


class Operations(TorchDispatchMode):
    """Counts the products that oneDNN computes meanwhile."""

    def __init__(self):
        super().__init__()
        self.called = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.called[func.name()] += 1
        return func(*args, **(kwargs or {}))

    @property
    def onednn(self):
        return self.called["mkldnn::_linear_pointwise"]


@pytest.fixture
def onednn(monkeypatch):
    """A machine on which oneDNN is faster, also for small products."""
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this torch has no oneDNN")
    monkeypatch.setattr(gemm, "MIN_MULTIPLICATIONS", 0)
    monkeypatch.setattr(gemm, "onednn_is_faster", lambda: True)


def laid_out(rows, columns, *, by_column, seed):
    """Numbers [row, column], contiguous by row or by column."""
    drawn = torch.randn(rows * columns, generator=torch.Generator().manual_seed(seed))
    return drawn.view(columns, rows).T if by_column else drawn.view(rows, columns)


def by_both_libraries(law):
    """Check a law with each library, and with several tiles."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gemm, "MIN_MULTIPLICATIONS", 0)
        patch.setattr(gemm, "PRODUCT_TILE", 16)
        for faster in (False, torch.backends.mkldnn.is_available()):
            patch.setattr(gemm, "onednn_is_faster", lambda faster=faster: faster)
            law()


SIZES = st.integers(1, 40)


@given(rows=SIZES, columns=SIZES, features=SIZES, first=st.booleans(), second=st.booleans(), seed=st.integers(0, 99))
def test_a_product_is_that_of_float64(rows, columns, features, first, second, seed):
    x = laid_out(rows, features, by_column=first, seed=seed)
    y = laid_out(columns, features, by_column=second, seed=seed + 1)
    expected = x.double() @ y.double().T

    def law():
        torch.testing.assert_close(gemm.product(x, y).double(), expected, rtol=0, atol=1e-5 * features)

    by_both_libraries(law)


@given(
    tokens=SIZES,
    one=SIZES,
    two=SIZES,
    first=st.booleans(),
    second=st.booleans(),
    start=st.integers(0, 20),
    seed=st.integers(0, 99),
)
def test_a_sum_of_products_is_that_of_float64_and_changes_nothing_else(tokens, one, two, first, second, start, seed):
    """The sum of products of some units goes into some cells of a larger matrix, whatever the memory layout."""
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

    by_both_libraries(law)


GPT2 = {"n_embd": 24, "n_layer": 2, "n_head": 2, "vocab_size": 50, "n_inner": 60}
OTHERS = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "vocab_size": 50,
    "intermediate_size": 60,
}


@pytest.mark.parametrize(
    ("kind", "sizes", "products"),
    [("gpt2", GPT2, 4 * 2), ("gpt_neox", OTHERS, 4 * 2), ("llama", OTHERS, 7 * 2)],
    ids=["gpt2, Conv1D", "gpt_neox, Linear", "llama, without biases"],
)
def test_a_model_returns_the_same_up_to_rounding(onednn, kind, sizes, products):
    """All of its linear layers, four or seven in each of two blocks, are computed by oneDNN."""
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **sizes)).eval().base_model
    ids = torch.arange(30).view(2, 15)
    with torch.inference_mode():
        with Operations() as plain_operations:
            plain = model(ids)[0]
        with gemm.fast_linear(model), Operations() as operations:
            found = model(ids)[0]
    assert (plain_operations.onednn, operations.onednn) == (0, products)
    torch.testing.assert_close(found, plain, rtol=1e-4, atol=1e-5)


class Doubled(torch.Tensor):
    """Stands for quantised weights and the like: a tensor with arithmetic of its own."""


@pytest.mark.parametrize(
    "left",
    ["float64", "bfloat16", "differentiated", "a tensor of another kind", "switched off", "weights with gaps", "few"],
)
def test_all_other_products_are_left_to_torch(onednn, monkeypatch, left):
    """The results are those of torch to the bit, and oneDNN computes none of them."""
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
        monkeypatch.setattr(gemm, "MIN_MULTIPLICATIONS", 4 * 5 * 6 + 1)
    if left == "switched off":
        monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    with gemm.fast_linear(torch.nn.Linear(1, 1)), Operations() as operations:
        assert torch.equal(gemm.product(x, y), x @ y.T)
        assert torch.equal(functional.linear(x, y), x @ y.T)
    assert operations.onednn == 0


def test_gradients_reach_the_weights(onednn):
    """Under autograd a linear layer is computed by torch, since the product of oneDNN has no gradient."""
    layer = torch.nn.Linear(6, 5)
    with gemm.fast_linear(layer):
        layer(torch.randn(4, 6)).sum().backward()
    assert layer.weight.grad is not None


def test_a_row_with_nan_has_nan_products(onednn):
    """oneDNN spreads nan over the row and nowhere else."""
    x = torch.ones(4, 6)
    x[1, 2] = torch.nan
    with Operations() as operations:
        found = gemm.product(x, torch.ones(5, 6))
    assert operations.onednn == 1
    assert found.isnan().any(dim=1).tolist() == [False, True, False, False]


# -- which library --------------------------------------------------------------------------------------------


@pytest.fixture
def amd(monkeypatch):
    """A processor with AVX-512 of another maker than Intel, about which nothing is remembered."""
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this torch has no oneDNN")
    monkeypatch.setattr(machine, "has_intel_cpu", lambda: False)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    gemm.onednn_is_faster.cache_clear()
    yield
    gemm.onednn_is_faster.cache_clear()


def test_onednn_is_used_where_mkl_does_not_use_avx512(amd):
    """That is on processors of other makers than Intel."""
    assert gemm.product_library() == "oneDNN"


def test_mkl_is_used_on_intel(amd, monkeypatch):
    """MKL uses all instructions of Intel's own processors."""
    monkeypatch.setattr(machine, "has_intel_cpu", lambda: True)
    assert gemm.product_library() == "torch"


def test_one_switch_leaves_every_product_to_torch(amd, monkeypatch):
    """The switch is that of torch for oneDNN, and takes effect at once."""
    for enabled, library in ((True, "oneDNN"), (False, "torch"), (True, "oneDNN")):
        monkeypatch.setattr(torch.backends.mkldnn, "enabled", enabled)
        assert gemm.product_library() == library


def raising(error):
    def found(*_):
        raise error

    return found


@pytest.mark.parametrize(
    "function",
    [
        raising(AttributeError("'_OpNamespace' 'mkldnn' object has no attribute '_linear_pointwise'")),
        raising(RuntimeError("mkldnn::_linear_pointwise() expected at most 5 argument(s)")),
        lambda x, y, *_: x @ y.T,
    ],
    ids=["missing", "other arguments", "wrong"],
)
def test_a_torch_with_another_function_is_left_to_itself(amd, monkeypatch, function):
    """The function of oneDNN is private in torch, so it is tried before it is used."""
    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", function)
    assert gemm.product_library() == "torch"


@pytest.mark.parametrize(("faster", "kind"), [(False, torch.float32), (True, torch.bfloat16)])
def test_no_function_is_intercepted_where_onednn_does_not_apply(monkeypatch, faster, kind):
    """Intercepting costs some microseconds a call, so it is not done for nothing."""
    monkeypatch.setattr(gemm, "onednn_is_faster", lambda: faster)
    with gemm.fast_linear(torch.nn.Linear(3, 4).to(kind)):
        assert not torch.overrides._get_current_function_mode_stack()
