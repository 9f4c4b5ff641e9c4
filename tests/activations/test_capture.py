"""The capture of activations: a forward pass ends as soon as everything that is read has been computed."""

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
ATTENTION_MASK = torch.ones_like(IDS)


class StandInTokenizer:
    """The attributes of a tokenizer that are used to draw token ids."""

    all_special_ids = ()

    def __len__(self):
        return 200


def prepared(name):
    loaded, anatomy = tiny.prepared(*name.split("-", 1))
    return loaded.model, anatomy


def capture(model, anatomy, **options):
    got = {}
    with capture_activations(
        model, anatomy.layout, lambda s, i, units, t: got.update({(s, i): units.clone()}), **options
    ) as open_capture:
        open_capture.forward(IDS, ATTENTION_MASK)
    return got


def count_runs(model, path):
    """A list that grows whenever a module has run to its end."""
    count = []
    model.get_submodule(path).register_forward_hook(lambda *_: count.append(1))
    return count


@pytest.mark.parametrize("name", ["causal-gpt2", "causal-llama", "causal-gptj", "masked-bert", "seq2seq-t5"])
def test_a_pass_ends_before_the_last_output_projection(name):
    """No unit needs the output of that projection. The model works as before afterwards."""
    model, anatomy = prepared(name)
    before = run_model(model, IDS, ATTENTION_MASK, states=True)
    layers = anatomy.layout.layers
    last, others = count_runs(model, layers[-1].down.module), count_runs(model, layers[-2].down.module)
    got = capture(model, anatomy)
    assert (len(last), len(others)) == (0, 1)
    assert {(POST, len(layers) - 1), (PRE, len(layers) - 1), (RESIDUAL, 0)} <= got.keys()
    after = run_model(model, IDS, ATTENTION_MASK, states=True)
    assert torch.equal(before[0], after[0])
    assert len(last) == 1


def middle_stream_of(model):
    with eager_experts(model):
        return middle_stream(run_model(model, IDS, ATTENTION_MASK, states=True)).flatten(0, 1)


@pytest.mark.parametrize("name", ["causal-gpt2", "masked-bert", "seq2seq-t5", "masked-albert", "causal-mixtral"])
def test_the_stream_is_read_at_the_input_of_a_module(name):
    """This is the stream of the decoder if there are two stacks, and of the second call if layers are shared."""
    model, anatomy = prepared(name)
    stream = anatomy.layout.stream
    assert stream.reader
    assert stream.call == (name == "masked-albert")
    assert torch.equal(capture(model, anatomy)[RESIDUAL, 0], middle_stream_of(model))


def test_several_streams_are_one_row_of_features_for_each_token():
    """DeepSeek V4 has four streams, which are concatenated."""
    model = tiny_model(Entry("causal", "deepseek_v4"))  # its vocabulary has a fixed size, unlike that of ``prepared``
    anatomy = dissect(LoadedModel(model, StandInTokenizer(), "", None))
    with eager_experts(model):
        states = middle_stream(run_model(model, IDS, ATTENTION_MASK, states=True))
    assert states.dim() == 4
    assert anatomy.middle_width == states.shape[2] * states.shape[3]
    assert torch.equal(capture(model, anatomy)[RESIDUAL, 0], states.view(IDS.numel(), anatomy.middle_width))


@pytest.mark.parametrize("name", ["causal-xlnet", "masked-longformer"])
def test_a_pass_is_complete_if_no_module_reads_the_stream(name):
    """XLNet has the sequence as its first axis and Longformer pads it, so only the model returns the stream itself."""
    model, anatomy = prepared(name)
    assert anatomy.middle_width
    assert not anatomy.layout.stream.reader
    expected = middle_stream_of(model)
    last = count_runs(model, anatomy.layout.layers[-1].down.module)
    assert torch.equal(capture(model, anatomy)[RESIDUAL, 0], expected)
    assert len(last) == 1


def test_a_pass_without_the_stream_ends_early_in_every_model():
    """Only the stream needs the rest of the pass."""
    model, anatomy = prepared("causal-xlnet")
    last = count_runs(model, anatomy.layout.layers[-1].down.module)
    got = capture(model, anatomy, stream=False)
    assert (RESIDUAL, 0) not in got
    assert not last


def test_a_pass_ends_after_the_last_module_that_is_read():
    """The last norm of a model is computed after all units."""
    model, anatomy = prepared("causal-gpt2")
    read = []
    capture(model, anatomy, reads=[("transformer.ln_f", lambda x: read.append(x.clone()))])
    assert [x.shape for x in read] == [(*IDS.shape, anatomy.width)]


def test_reading_a_missing_module_is_an_error():
    """The error names the path of the module."""
    model, anatomy = prepared("causal-gpt2")
    with pytest.raises(NeuronsNotFound, match=r"has no transformer\.h\.9"):
        capture(model, anatomy, reads=[("transformer.h.9", print)])


def test_no_reference_to_activations_is_kept():
    """Memory for a batch must be free without garbage collection, because a batch of all units takes most of it."""
    model, anatomy = prepared("causal-gpt2")
    gc.collect()
    gc.disable()
    try:
        references = []

        def receive(site, index, units, tokens):
            references.append(weakref.ref(units))

        with capture_activations(
            model, anatomy.layout, receive, reads=[("transformer.ln_f", lambda x: None)]
        ) as open_capture:
            open_capture.forward(IDS, ATTENTION_MASK)
        inside = weakref.ref(open_capture)
        del open_capture
        assert inside() is None
        assert references
        assert not [one for one in references if one() is not None]
    finally:
        gc.enable()


def test_an_exception_in_a_pass_is_raised():
    """It must not be confused with the exception that ends a pass early."""
    model, anatomy = prepared("causal-gpt2")

    def fail(*_):
        raise ZeroDivisionError

    with capture_activations(model, anatomy.layout, fail) as open_capture, pytest.raises(ZeroDivisionError):
        open_capture.forward(IDS, ATTENTION_MASK)
