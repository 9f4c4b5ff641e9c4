"""Studies of models: tables and tokens that agree with the model, the cache, and errors that say what to type."""

import numpy as np
import pytest
import torch
from scipy.stats import kurtosis, skew

import pytest_unineuron as unineuron
from pytest_unineuron.errors import CorpusError, ModelError, NotApplicable, OptionError
from pytest_unineuron.lab.arm import Arm
from pytest_unineuron.study.neuron import Bars, render_cards
from pytest_unineuron.study.study import Study

BUDGET = {"tokens": 6000, "correlation_tokens": 3000}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder for finished results, which all studies of this module share."""
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def study(folder):
    return unineuron.open("nano:neox-a", cache=folder, **BUDGET)


@pytest.fixture(scope="module")
def activations(study):
    """Pre- and post-activations of layer 1 at every text token, [token, neuron], computed by hand."""
    model, blocks = study.lab.loaded(Arm("neox-a")).model, study.lab.blocks("neox-a", "prose")
    found = {"pre": [], "post": []}
    mlp = model.gpt_neox.layers[1].mlp
    hooks = [
        mlp.dense_h_to_4h.register_forward_hook(lambda m, i, out: found["pre"].append(out)),
        mlp.dense_4h_to_h.register_forward_pre_hook(lambda m, i: found["post"].append(i[0])),
    ]
    with torch.no_grad():
        for batch in blocks.batches(1024):
            model(batch.ids, attention_mask=batch.attention_mask)
            for parts in found.values():
                parts[-1] = parts[-1][batch.text_mask]
    for hook in hooks:
        hook.remove()
    return {site: torch.cat(parts).double().numpy() for site, parts in found.items()}


def test_a_row_has_the_statistics_of_a_neuron(study, activations):
    """They are those that scipy computes from the activations of the model."""
    table = study.neurons("prose")
    assert list(table.index) == list(range(2048))
    rows = table[table["layer"] == 1]
    assert list(rows["index"]) == list(range(512))
    np.testing.assert_allclose(rows["mean"], activations["pre"].mean(axis=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(rows["kurtosis"], kurtosis(activations["pre"], axis=0, fisher=False), rtol=1e-3)
    np.testing.assert_allclose(rows["density"], (activations["pre"] > 0).mean(axis=0), atol=1e-3)


def test_a_table_can_be_changed(study):
    """It is a copy."""
    table = study.neurons()
    table["kurtosis"] = 0.0
    assert (study.neurons()["kurtosis"] > 0).all()


def test_top_tokens_are_those_at_which_the_neuron_is_strongest(study, activations):
    """Their values are the largest, and the text around each is that of the corpus."""
    post = activations["post"][:, 17]
    found = study.top_tokens(layer=1, neuron=17)
    np.testing.assert_allclose(found["activation"], np.sort(post)[::-1][: len(found)], rtol=1e-4, atol=1e-5)
    texts = [document.text for document in study.lab.corpus("prose").documents]
    for _, row in found.iterrows():
        whole = (row["before"] + row["token"] + row["after"]).removeprefix("<|endoftext|>")
        assert "\ufffd" in whole or any(whole in text for text in texts), whole


def test_a_histogram_counts_every_token_once(study, activations):
    """Its ranges are those of numpy, over the pre-activations of the model."""
    counts, edges = np.histogram(activations["pre"][:, 17], 32)
    found = study.histogram(layer=1, neuron=17)
    np.testing.assert_allclose(found["low"], edges[:-1], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["high"], edges[1:], rtol=1e-4, atol=1e-5)
    assert found["tokens"].sum() == counts.sum()
    assert (found["tokens"] - counts).abs().max() <= 3  # a value at an edge may fall on either side


def test_cards_of_several_neurons_take_one_pass(study, folder):
    """In the order of their names, each with its own histogram; a second time the cache has them."""
    names = [512 + 17, 3, 512 + 17]
    cards = study.cards(names)
    assert [(card.layer, card.index) for card in cards] == [(1, 17), (0, 3), (1, 17)]
    assert cards[0].histogram.equals(study.histogram(layer=1, neuron=17))
    again = unineuron.open("nano:neox-a", cache=folder, **BUDGET)
    again.cards(names)
    assert "forward_pass" not in {event["kind"] for event in again.lab.events}


def test_bars_show_a_single_token_and_where_zero_is():
    """Heights are logarithmic, in a square of 100; an empty range has no bar."""
    bars = Bars(((-1.0, 0.0, 0), (0.0, 1.0, 1), (1.0, 3.0, 99)))
    assert bars.path == "M27.0 100V85.55H50.0V100ZM50.0 100V4.0H96.0V100Z"
    assert bars.zero == 27.0
    assert Bars(((1.0, 2.0, 5),)).zero is None
    assert [tokens for _, _, tokens in bars.texts] == [0, 1, 99]


def test_token_effects_are_those_of_the_weights(study):
    """What a neuron writes, through the final norm's gain and the unembedding, centred over both."""
    model = study.lab.loaded(Arm("neox-a")).model
    write = model.gpt_neox.layers[1].mlp.dense_4h_to_h.weight[:, 17].double()
    unembedding = model.lm_head.weight.double() * model.gpt_neox.final_layer_norm.weight.double()
    unembedding = unembedding - unembedding.mean(dim=1, keepdim=True)
    effects = (unembedding - unembedding.mean(dim=0)) @ (write - write.mean())
    found = study.token_effects(layer=1, neuron=17, n=3)
    np.testing.assert_allclose(found["promotes_by"], effects.topk(3).values.detach(), rtol=1e-3)
    np.testing.assert_allclose(found["suppresses_by"], -(-effects).topk(3).values.detach(), rtol=1e-3)


def test_roles_are_those_of_the_vocabulary_composition(study):
    """Kurtosis and skew are those that scipy computes from cosines with every token; roles follow from them."""
    model = study.lab.loaded(Arm("neox-a")).model
    write = model.gpt_neox.layers[1].mlp.dense_4h_to_h.weight.double()[:, 17]
    unembedding = model.lm_head.weight.double() * model.gpt_neox.final_layer_norm.weight.double()
    unembedding = unembedding - unembedding.mean(dim=1, keepdim=True)
    unembedding = unembedding - unembedding.mean(dim=0)
    cosines = torch.cosine_similarity(unembedding, (write - write.mean())[None]).detach().numpy()
    table = study.roles()
    row = table.loc[512 + 17]
    assert (row["layer"], row["index"]) == (1, 17)
    assert row["vocabulary"] == pytest.approx(kurtosis(cosines, fisher=False), rel=1e-3)
    assert row["vocabulary_skew"] == pytest.approx(skew(cosines), rel=1e-2, abs=1e-3)
    singled_out, raised = table["vocabulary"] > 10, table["vocabulary_skew"] > 0
    assert ((table["role"] == "prediction") == (singled_out & raised)).all()
    assert ((table["role"] == "suppression") == (singled_out & ~raised)).all()
    assert table["null_space"].between(0, 1).all()
    assert table["frequency"].between(-1, 1).all()


def test_universality_names_the_partner_in_each_seed(study, folder):
    """Partners are neurons of the seed, and the excess is ρ with it less the baseline of a random basis."""
    table = study.universality(seeds=["nano:neox-b"])
    assert list(table.columns)[:4] == ["layer", "index", "excess", "universal"]
    assert set(table["nano:neox-b layer"]) <= {-1, 0, 1, 2, 3}
    assert table["nano:neox-b index"].between(-1, 511).all()
    same = unineuron.open("nano:neox-a", seeds=["nano:neox-b"], cache=folder, **BUDGET)
    baseline = same.lab.universality(Arm("neox-a"), "prose").neurons.baseline[0]
    np.testing.assert_allclose(table["excess"], table["nano:neox-b correlation"] - baseline)
    assert (table["excess"] < table["nano:neox-b correlation"])[baseline > 0].all()
    assert (table["universal"] == (table["excess"] > 0.4)).all()


def test_results_are_read_from_the_cache(study, folder):
    """A second study of the same text makes no forward pass."""
    study.neurons("prose")
    again = unineuron.open("nano:neox-a", cache=folder, **BUDGET)
    assert again.neurons("prose").equals(study.neurons("prose"))
    assert "forward_pass" not in {event["kind"] for event in again.lab.events}


def test_a_card_shows_hostile_tokens_as_text(study):
    """Nothing in a card becomes a tag of the notebook or of the page in its frame."""
    card = study.neuron(layer=1, neuron=17)
    assert card.statistics["kurtosis"] == study.neurons().loc[512 + 17, "kurtosis"]
    card.tokens.loc[0, "token"] = "<script>alert(1)</script>"
    shown = card._repr_html_()
    assert shown.startswith("<iframe srcdoc=")
    assert "&amp;lt;script&amp;gt;alert(1)&amp;lt;/script&amp;gt;" in shown


@pytest.mark.parametrize("width", [360, 1280])
def test_a_browser_shows_cards_without_an_error(study, visit, width):
    """Long and hostile tokens fit, and nothing in them runs."""
    card = study.neuron(layer=1, neuron=17)
    card.tokens.loc[0] = [1e9, "<script>alert(1)</script>", "n" * 10_000, "\u202eعصبون"]
    tab, events = visit(render_cards("neurons", [card]), width)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert "<script>alert(1)</script>" in tab.inner_text("main")
    assert events == []


@pytest.mark.parametrize(
    ("ask", "error", "message"),
    [
        (lambda s: unineuron.open("nano:neox-z"), ModelError, "there is no such nano model"),
        (
            lambda s: unineuron.open("nano:neox-a", token=5),
            OptionError,
            "no such option of a study; did you mean tokens?",
        ),
        (lambda s: unineuron.open("nano:neox-a", tokens="many"), OptionError, "give a whole number of at least 1"),
        (lambda s: s.neurons("prosa"), CorpusError, "did you mean prose?"),
        (lambda s: s.top_tokens(layer=4, neuron=0), OptionError, "no neuron 0 in layer 4; it has layers 0 to 3 of 512"),
        (lambda s: s.token_effects(layer=0, neuron=512), OptionError, "no neuron 512 in layer 0"),
    ],
)
def test_errors_say_what_to_type(study, ask, error, message):
    """A wrong name is answered with the nearest one, or with what there is."""
    with pytest.raises(error, match=message.replace("?", r"\?")):
        ask(study)


def test_a_model_without_seeds_has_no_universality(tiny):
    """The error says how to name seeds."""
    with pytest.raises(NotApplicable, match="no further seeds"):
        unineuron.open(str(tiny("gpt2")), **BUDGET).universality()


def test_a_star_import_leaves_open_alone():
    """Python's own ``open`` is not hidden."""
    assert "open" not in unineuron.__all__
    assert "open" in dir(unineuron)
    assert isinstance(unineuron.open("nano:neox-a"), Study)
