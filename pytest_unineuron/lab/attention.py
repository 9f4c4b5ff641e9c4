"""What the heads of a model attend to as trials read it: on a part of a corpus, and on public texts."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from pytest_unineuron import controls
from pytest_unineuron.corpora import public_texts
from pytest_unineuron.lab.arm import Arm
from pytest_unineuron.lab.runs import opening, small_part
from pytest_unineuron.models.weights.weight_view import WeightView
from pytest_unineuron.roles.attention import attention_sums, head_layers
from pytest_unineuron.roles.pattern_agreement import pattern_products

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from pytest_unineuron.corpora.blocks import Batch, Blocks
    from pytest_unineuron.lab.comparisons import Comparisons
    from pytest_unineuron.lab.models import Models
    from pytest_unineuron.lab.reporting import Reporting
    from pytest_unineuron.lab.results import Results
    from pytest_unineuron.lab.texts import Texts
    from pytest_unineuron.roles.attention import AttentionSums
    from pytest_unineuron.roles.pattern_agreement import PatternProducts

ATTENTION_TOKENS = 4096
"""The most tokens of a corpus at which attention is read."""
OPENING = 64
"""The most tokens of a document that are read: attention is quadratic in them, and documents are independent."""
PATTERN_VALUES = 2**26
"""Attention probabilities of one batch, which are in memory together."""
FIRST_QUERY = 8
"""The first position that counts as a query: where fewer keys are visible, all heads attend alike."""


class Attention:
    """What every head of a model attends to. Arrays are [head] over all layers in order, float64.

    Quantities are ``first``, ``previous`` and ``own``, the attention to the first position, to the one before the query
    and to that of the query, ``largest``, that to any position, and ``entropy`` in nats. Query tokens are those of text
    from the ninth position on, and on public texts all. For a control arm, ``subject`` is the model itself.
    """

    def __init__(self, sums: AttentionSums, documents: int, subject: Attention | None = None) -> None:
        self._sums = sums
        self.documents = documents
        self.subject = subject

    @property
    def layer(self) -> NDArray[np.int64]:
        """The layer of each head."""
        return np.asarray(self._sums.layer.numpy())

    @property
    def groups(self) -> int:
        """The number of document groups; on public texts, the number of texts."""
        return self._sums.groups

    def without(self, group: int) -> Attention:
        """Return the attention measured without one group of documents."""
        return self._only(other for other in range(self.groups) if other != group)

    def texts(self, most: int | None = None) -> list[Attention]:
        """Return the attention on each of the first ``most`` groups alone, or of all: on public texts, on each text."""
        return [self._only([group]) for group in range(self.groups)[:most]]

    def _only(self, groups: Iterable[int]) -> Attention:
        return Attention(self._sums.only(list(groups)), self.documents)

    def mean(self, quantity: str) -> NDArray[np.float64]:
        """Return the mean of a quantity over query tokens."""
        return np.asarray(self._sums.mean(quantity).numpy())

    def variance(self, quantity: str) -> NDArray[np.float64]:
        """Return its population variance over query tokens."""
        return np.asarray(self._sums.variance(quantity).numpy())

    def even(self, quantity: str) -> float:
        """Return the mean of a quantity for a head that attends to all tokens that it can see alike."""
        return float(self._sums.even_mean(quantity))

    def __len__(self) -> int:
        return len(self._sums.layer)


class Patterns:
    """The attention of every head beside that of the heads of the same layer in another seed of the model.

    ``layer`` [head] has the layer of each head, ``seed`` the label of the seed. For a control arm, ``subject`` is the
    model itself.
    """

    def __init__(self, products: PatternProducts, seed: str, documents: int, subject: Patterns | None = None) -> None:
        self._products = products
        self.seed = seed
        self.documents = documents
        self.subject = subject
        self.layer: NDArray[np.int64] = np.asarray(products.layer.numpy())

    @property
    def groups(self) -> int:
        """The number of document groups."""
        return self._products.groups

    def without(self, group: int) -> Patterns:
        """Return the patterns measured without one group of documents."""
        others = [other for other in range(self.groups) if other != group]
        return Patterns(self._products.only(others), self.seed, self.documents)

    @property
    def matched(self) -> NDArray[np.float64]:
        """The correlation of each head's attention with that of its partner, [head].

        Partners are chosen on one half of the document groups, and correlations are those on the other.
        """
        return np.asarray(self._products.matched().numpy())

    @property
    def pairs(self) -> list[NDArray[np.float64]]:
        """The correlations of all heads of a layer with all heads of the same layer of the seed, [pair] by layer."""
        return [r.flatten().numpy() for r in self._products.correlations()]

    def __len__(self) -> int:
        return len(self.layer)


class AttentionResults:
    """Reads the attention of arms, once each, and stores what was found.

    ``subject_of`` returns the arm of the model itself for a control arm, with which it is compared.
    """

    def __init__(
        self,
        models: Models,
        texts: Texts,
        comparisons: Comparisons,
        results: Results,
        reporting: Reporting,
        subject_of: Callable[[Arm], Arm | None],
    ) -> None:
        self._models = models
        self._texts = texts
        self._comparisons = comparisons
        self._results = results
        self._reporting = reporting
        self._subject_of = subject_of

    def attention(self, arm: Arm, corpus: str) -> Attention:
        """Return what the heads of an arm attend to in a part of a corpus. Raises NotApplicable, ModelError."""
        blocks, subject = openings(self._texts.blocks_of_arm(arm, corpus, controls.TEXT)), self._subject_of(arm)
        sums = self._sums(arm, corpus, blocks, "", FIRST_QUERY)
        return Attention(sums, blocks.documents, self.attention(subject, corpus) if subject else None)

    def on_public_texts(self, arm: Arm, kind: str) -> Attention:
        """Return what the heads of an arm attend to on public texts of a kind, each a group of its own."""
        blocks = self._public(arm.model, kind)
        return Attention(self._sums(arm, public_texts.NAME, blocks, kind, 0), len(blocks.blocks))

    def patterns(self, arm: Arm, corpus: str) -> Patterns:
        """Return the attention of an arm beside that of the first further seed. Raises NotApplicable without seeds."""
        own = openings(self._texts.blocks_of_arm(arm, corpus, controls.TEXT, controls.PAIRING))
        of_seed = openings(self._texts.blocks_of_arm(arm, corpus, controls.TEXT))
        subject, seed = self._subject_of(arm), self._models.seeds(arm.model)[0]
        products = self._products(arm, corpus, own, of_seed, seed)
        return Patterns(products, seed, own.documents, self.patterns(subject, corpus) if subject else None)

    def patterns_on_public_text(self, arm: Arm, name: str) -> Patterns:
        """Return the same on one public text: of whole matrices, with the zeros of keys that come later."""
        blocks, seed = self._public(arm.model, name), self._models.seeds(arm.model)[0]
        products = self._products(arm, public_texts.NAME, blocks, blocks, seed, name)
        return Patterns(products, seed, len(blocks.blocks))

    def _public(self, model: str, kind: str) -> Blocks:
        return public_texts.one_by_one(self._texts.blocks(model, public_texts.NAME), kind)

    def _sums(self, arm: Arm, corpus: str, blocks: Blocks, kind: str, first_query: int) -> AttentionSums:
        def compute() -> AttentionSums:
            view = self._view(arm)
            return attention_sums(view, self._batches(view, blocks), first_query)

        found: AttentionSums = self._results.role(arm, corpus, attention_sums, f"openings {kind}", compute)
        return found

    def _products(
        self, arm: Arm, corpus: str, own: Blocks, of_seed: Blocks, seed: str, name: str = ""
    ) -> PatternProducts:
        """The products of an arm and a seed in a part of a corpus, or on the public text of a name."""

        def compute() -> PatternProducts:
            self._comparisons.check_comparable(arm.model, [seed], max(len(block.ids) for block in own.blocks))
            self._reporting.note_pass(Arm(seed), corpus, f"patterns beside {arm} {name}")
            view, other = self._view(arm), self._view(Arm(seed))
            batches, others = self._batches(view, own), self._batches(view, of_seed)
            return pattern_products(view, batches, other, others, 0 if name else FIRST_QUERY, flat=bool(name))

        loaded = self._models.loaded(Arm(seed))
        given = f"{loaded.files_digest} {loaded.weights_digest} {name}"
        found: PatternProducts = self._results.role(arm, corpus, pattern_products, given, compute)
        return found

    def _view(self, arm: Arm) -> WeightView:
        return WeightView(partial(self._models.loaded, arm), self._models.anatomy(arm.model))

    def _batches(self, view: WeightView, blocks: Blocks) -> list[Batch]:
        longest = max(len(block.ids) for block in blocks.blocks)
        most = PATTERN_VALUES // (longest * len(head_layers(view)))
        return blocks.batches(max(1, min(self._models.positions, most)))


def openings(blocks: Blocks) -> Blocks:
    """Return the first tokens of every document, up to ``ATTENTION_TOKENS`` of all groups in turn."""
    first = {block.document: block for block in reversed(blocks.blocks)}
    made = tuple(opening(block, OPENING) for block in reversed(first.values()))
    return small_part(replace(blocks, blocks=made, sinks=()), ATTENTION_TOKENS)
