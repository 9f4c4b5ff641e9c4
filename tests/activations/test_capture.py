"""A pass goes no further than anything is wanted of it, and shows what one shows that does."""

import gc
import weakref

import pytest
import torch

from pytest_unineuron.activations.capture import capture_activations
from pytest_unineuron.errors import NeuronsNotFound
from pytest_unineuron.models.discovery.anatomy import dissect
from pytest_unineuron.models.discovery.parameters import eager_experts
from pytest_unineuron.models.loading.forward import middle_stream, run_model
from pytest_unineuron.models.loading.load import LoadedModel
from pytest_unineuron.statistics import POST, PRE, RESIDUAL
from tests.models import tiny
from tools.architectures.shrink import Entry, tiny_model

IDS = torch.randint(5, 190, (3, 12), generator=torch.Generator().manual_seed(3))
THERE = torch.ones_like(IDS)


class Tokens:
    """All that is asked of a tokenizer where ids are drawn."""

    all_special_ids = ()

    def __len__(self):
        return 200


def prepared(name):
    loaded, anatomy = tiny.prepared(*name.split("-", 1))
    return loaded.model, anatomy


def observed(model, anatomy, **how):
    got = {}
    with capture_activations(
        model, anatomy.layout, lambda s, i, units, t: got.update({(s, i): units.clone()}), **how
    ) as capture:
        capture.forward(IDS, THERE)
    return got


def runs(model, path):
    """How often a module runs to its end from now on."""
    count = []
    model.get_submodule(path).register_forward_hook(lambda *_: count.append(1))
    return count


@pytest.mark.parametrize("name", ["causal-gpt2", "causal-llama", "causal-gptj", "masked-bert", "seq2seq-t5"])
def test_a_pass_ends_before_the_last_output_projection(name):
    """Which no unit needs; all others ran, and the model is as it was."""
    model, anatomy = prepared(name)
    before = run_model(model, IDS, THERE, states=True)
    layers = anatomy.layout.layers
    last, others = runs(model, layers[-1].down.module), runs(model, layers[-2].down.module)
    got = observed(model, anatomy)
    assert (len(last), len(others)) == (0, 1)
    assert {(POST, len(layers) - 1), (PRE, len(layers) - 1), (RESIDUAL, 0)} <= got.keys()
    after = run_model(model, IDS, THERE, states=True)
    assert torch.equal(before[0], after[0])
    assert len(last) == 1


def middle_of(model):
    with eager_experts(model):
        return middle_stream(run_model(model, IDS, THERE, states=True)).flatten(0, 1)


@pytest.mark.parametrize("name", ["causal-gpt2", "masked-bert", "seq2seq-t5", "masked-albert", "causal-mixtral"])
def test_the_stream_is_read_on_its_way_into_a_module(name):
    """As the model returns it: of a decoder where there are two stacks, the second time where layers are shared."""
    model, anatomy = prepared(name)
    stream = anatomy.layout.stream
    assert stream.reader
    assert stream.call == (name == "masked-albert")
    assert torch.equal(observed(model, anatomy)[RESIDUAL, 0], middle_of(model))


def test_several_streams_are_one_row_of_features_for_each_token():
    """DeepSeek V4 keeps four of them, side by side."""
    model = tiny_model(Entry("causal", "deepseek_v4"))  # it looks tokens up in a table of their own, so none are added
    anatomy = dissect(LoadedModel(model, Tokens(), "", None))
    with eager_experts(model):
        states = middle_stream(run_model(model, IDS, THERE, states=True))
    assert states.dim() == 4
    assert anatomy.middle_width == states.shape[2] * states.shape[3]
    assert torch.equal(observed(model, anatomy)[RESIDUAL, 0], states.view(IDS.numel(), anatomy.middle_width))


@pytest.mark.parametrize("name", ["causal-xlnet", "masked-longformer"])
def test_where_no_module_is_given_the_stream_a_pass_goes_to_its_end(name):
    """XLNet keeps its stream sequence first, Longformer pads it: what it returns is neither."""
    model, anatomy = prepared(name)
    assert anatomy.middle_width
    assert not anatomy.layout.stream.reader
    expected = middle_of(model)
    last = runs(model, anatomy.layout.layers[-1].down.module)
    assert torch.equal(observed(model, anatomy)[RESIDUAL, 0], expected)
    assert len(last) == 1


def test_such_a_model_ends_early_where_the_stream_is_not_wanted():
    model, anatomy = prepared("causal-xlnet")
    last = runs(model, anatomy.layout.layers[-1].down.module)
    got = observed(model, anatomy, stream=False)
    assert (RESIDUAL, 0) not in got
    assert not last


def test_whatever_else_is_read_is_waited_for():
    """Here the last thing that the model computes."""
    model, anatomy = prepared("causal-gpt2")
    read = []
    observed(model, anatomy, reads=[("transformer.ln_f", lambda x: read.append(x.clone()))])
    assert [x.shape for x in read] == [(*IDS.shape, anatomy.width)]


def test_what_is_read_has_to_be_there():
    model, anatomy = prepared("causal-gpt2")
    with pytest.raises(NeuronsNotFound, match=r"has no transformer\.h\.9"):
        observed(model, anatomy, reads=[("transformer.h.9", print)])


def test_nothing_that_was_handed_over_is_kept():
    """Not even until garbage is collected: a batch of all units is what takes most memory."""
    model, anatomy = prepared("causal-gpt2")
    gc.collect()
    gc.disable()
    try:
        kept = []

        def receive(site, index, units, tokens):
            kept.append(weakref.ref(units))

        with capture_activations(
            model, anatomy.layout, receive, reads=[("transformer.ln_f", lambda x: None)]
        ) as capture:
            capture.forward(IDS, THERE)
        inside = weakref.ref(capture)
        del capture
        assert inside() is None
        assert kept
        assert not [one for one in kept if one() is not None]
    finally:
        gc.enable()


def test_what_goes_wrong_in_a_pass_is_not_taken_for_its_end():
    model, anatomy = prepared("causal-gpt2")

    def fail(*_):
        raise ZeroDivisionError

    with capture_activations(model, anatomy.layout, fail) as capture, pytest.raises(ZeroDivisionError):
        capture.forward(IDS, THERE)
