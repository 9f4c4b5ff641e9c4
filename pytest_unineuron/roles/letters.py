"""Letter neurons: they respond to the tokens that begin with one letter, whatever word it is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from scipy import stats

from pytest_unineuron.roles.label_sums import sums_by_label
from pytest_unineuron.roles.token_texts import token_texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from pytest_unineuron.corpora.blocks import Batch
    from pytest_unineuron.models.discovery.layout import NeuronLayout
    from pytest_unineuron.models.weights.weight_view import WeightView

LAYERS = 2
"""The number of first layers whose neurons are read, as those of single words are."""
LEAST = 4
"""A letter with fewer token types, in either half of them, is left out."""


@dataclass(frozen=True, eq=False)
class LetterNeurons:
    """The neuron of the first layers that tells the token types of a letter best from others, for each of ``letters``.

    ``neuron`` [letter] is its number, chosen on one half of the types. ``auroc`` [letter], float64, is read on the
    other half. ``permuted`` [letter] is the same if letters are permuted over types, before a neuron is chosen.
    """

    letters: str
    neuron: Tensor
    auroc: Tensor
    permuted: Tensor


def letter_neurons(view: WeightView, batches: Sequence[Batch]) -> LetterNeurons:
    """Return the letter neurons of a model (Gurnee et al. 2024, section 4.3); of gated ones, either sign counts.

    A token type is a text, without its leading space and in lower case, so that no word is in both halves.
    """
    generator = torch.Generator().manual_seed(0)
    types, type_of = token_types(view.loaded.tokenizer, batches)
    means, gated = means_by_type(view, batches, type_of, len(types))
    signed = torch.cat([means, -means[gated]])
    letter = torch.tensor([ord(text[0]) for text in types], dtype=torch.int64)
    known = torch.tensor([each for each in letter.unique().tolist() if (letter == each).sum() >= 2 * LEAST])
    best, auroc = _held_out(signed, letter, known, generator)
    _, permuted = _held_out(signed, letter[torch.randperm(len(letter), generator=generator)], known, generator)
    neuron = torch.cat([torch.arange(len(gated)), gated.nonzero().flatten()])[best]
    return LetterNeurons("".join(map(chr, known.tolist())), neuron, auroc, permuted)


def token_types(tokenizer: Any, batches: Sequence[Batch]) -> tuple[list[str], Tensor]:
    """Return the token types of a text that begin with an ASCII letter, and the type of each token id, −1 for none."""
    ids = torch.cat([batch.ids[batch.text_mask] for batch in batches]).unique().tolist()
    texts = {token: text.strip().lower() for token, text in token_texts(tokenizer, ids).items()}
    types = sorted({text for text in texts.values() if "a" <= text[:1] <= "z"})
    number = {text: place for place, text in enumerate(types)}
    type_of = torch.full((max(int(batch.ids.max()) for batch in batches) + 1,), -1)
    type_of[torch.tensor(ids)] = torch.tensor([number.get(texts[token], -1) for token in ids])
    return types, type_of


def means_by_type(view: WeightView, batches: Sequence[Batch], type_of: Tensor, types: int) -> tuple[Tensor, Tensor]:
    """Return mean post-activations over the text tokens of a type, [neuron, type] float64, and which are gated.

    They are those of the neurons of the first layers. ``type_of`` [token id] is below ``types``, negative for none.
    """
    layout = _first_layers(view.anatomy.layout.per_token)
    sums, tokens = sums_by_label(view, layout, batches, types, lambda batch: type_of[batch.ids])
    gated = torch.cat([torch.full((layer.width,), layer.gated) for layer in layout.layers])
    return sums / tokens, gated


def aurocs(values: Tensor, of_letter: Tensor) -> Tensor:
    """Return the AUROC of values at the types of a letter against all others, [neuron, letter] float64.

    ``values`` is [neuron, type] and ``of_letter`` [type, letter] of bool, with types of either kind for each letter.
    Ties count half (Mann and Whitney 1947).
    """
    ranks, marked = torch.from_numpy(stats.rankdata(values.numpy(), axis=-1)), of_letter.double()
    has = marked.sum(dim=0)
    return (ranks @ marked - has * (has + 1) / 2) / (has * (len(marked) - has))


def _first_layers(layout: NeuronLayout) -> NeuronLayout:
    numbers = layout.layer_numbers
    first = sorted(set(numbers))[:LAYERS]
    return replace(layout, layers=tuple(layer for layer, n in zip(layout.layers, numbers, strict=True) if n in first))


def _held_out(values: Tensor, letter: Tensor, known: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The best row for each known letter, chosen on one half of the types, and its AUROC on the other, [letter]."""
    half = torch.zeros(len(letter), dtype=torch.bool)
    for each in letter.unique():
        here = (letter == each).nonzero().flatten()
        half[here[torch.randperm(len(here), generator=generator)[::2]]] = True
    of_letter = letter[:, None] == known
    best = aurocs(values[:, half], of_letter[half]).argmax(dim=0)
    return best, aurocs(values[:, ~half], of_letter[~half])[best, torch.arange(len(known))]
