"""The corpora of a run, and the blocks of tokens in which models and control arms read them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_unineuron import controls
from pytest_unineuron.corpora import number_words, public_texts
from pytest_unineuron.corpora.blocks import Blocks, to_blocks
from pytest_unineuron.corpora.find import find_corpus
from pytest_unineuron.corpora.independence import reason_known, reason_repetitive
from pytest_unineuron.errors import NotApplicable
from pytest_unineuron.lab.arm import Arm
from pytest_unineuron.options.settings import DEFAULT_CONTEXT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from pytest_unineuron.activations.sinks import Sinks
    from pytest_unineuron.corpora.corpus import Corpus
    from pytest_unineuron.lab.models import Models
    from pytest_unineuron.models.loading.load import LoadedModel
    from pytest_unineuron.options.settings import Settings

PROBES = (number_words.NAME, public_texts.NAME)
"""Corpora that are made of sentences, to ask something of a model. They are no text that a model is tested on."""
NO_BUDGET = 10**9
"""Token budget of a probe, which is made to fit the budget of the run and read to its end."""


class Texts:
    """Corpora by label, each read once, and their blocks by model.

    ``corpora`` maps labels to what was typed; all but ``reference`` are new data beside that one, unless it is empty.
    ``notify`` is given an event for every corpus that a model reads, with facts about what the first model read of it.
    """

    def __init__(
        self,
        settings: Settings,
        corpora: Mapping[str, str],
        models: Models,
        notify: Callable[[dict[str, Any]], None],
        reference: str = "",
    ) -> None:
        self._settings = settings
        self._reference = reference
        self._specs = corpora
        self._models = models
        self._notify = notify
        self._corpora: dict[str, Corpus] = {}
        self._blocks: dict[tuple[str, str], Blocks] = {}
        self._unusable: dict[tuple[str, str], str] = {}

    def corpus(self, label: str) -> Corpus:
        """Return a corpus of the run, or a probe. Raises CorpusError."""
        if label not in self._corpora:
            self._corpora[label] = self._find(label)
        return self._corpora[label]

    def _find(self, label: str) -> Corpus:
        if label == number_words.NAME:
            return number_words.corpus(number_words.sentences_within(self._settings.tokens))
        if label == public_texts.NAME:
            return public_texts.corpus()
        return find_corpus(self._specs.get(label, label), field=self._settings.text_field)

    def blocks(self, model: str, corpus: str) -> Blocks:
        """Return the blocks in which a model reads a corpus. Raises CorpusError if there is too little of it.

        Raises NotApplicable if the text that is read repeats itself, or is not new beside the reference corpus.
        """
        if (model, corpus) not in self._blocks:
            loaded, whole = self._models.loaded(Arm(model)), self.corpus(corpus)
            budget = NO_BUDGET if corpus in PROBES else self._settings.tokens
            blocks = to_blocks(whole, loaded.tokenizer, context=self.context(loaded), budget=budget)
            if corpus == number_words.NAME:  # nothing leaves groups of it out, and each has a mean for every word
                blocks = replace(blocks, groups=1)
            if corpus == public_texts.NAME:
                blocks = public_texts.in_sets(blocks)
            self._unusable[model, corpus] = self._reason_unusable(corpus, blocks.corpus)
            self._blocks[model, corpus] = blocks
            read = {**blocks.corpus.facts(), "fingerprint": whole.fingerprint}
            facts = {"spec": self._specs.get(corpus, corpus), **read}
            self._notify({"kind": "corpus", "label": corpus, "facts": facts, "model": model, "tokens": blocks.tokens})
        if reason := self._unusable[model, corpus]:
            raise NotApplicable(reason)
        return self._blocks[model, corpus]

    def leave_out(self, model: str, corpus: str, sinks: Sinks) -> None:
        """Leave the sinks of a model out of the statistics of all of its arms on a corpus."""
        self._blocks[model, corpus] = replace(self.blocks(model, corpus), sinks=sinks.tokens)

    def _reason_unusable(self, label: str, read: Corpus) -> str:
        """The reason why what was read of a corpus is no evidence; empty if it is, and for a probe, which is no text.

        It is compared with the whole reference corpus, since which part of that is read depends on the model.
        """
        if label in PROBES:
            return ""
        repetitive = reason_repetitive(read)
        if repetitive or self._reference in ("", label):
            return repetitive
        return reason_known(read, self.corpus(self._reference), self._reference)

    def blocks_of_arm(self, arm: Arm, corpus: str, *replaced: str) -> Blocks:
        """Return the blocks in which an arm reads a corpus.

        They are those of its model unless its control replaces one of the parts ``replaced``, such as
        ``controls.TEXT``.
        """
        blocks = self.blocks(arm.model, corpus)
        if any(map(arm.replaces, replaced)):
            tokenizer = self._models.loaded(Arm(arm.model)).tokenizer
            made: Blocks = controls.CONTROLS[arm.control].load()(blocks, tokenizer, arm.seed)
            return made
        return blocks

    def context(self, loaded: LoadedModel) -> int:
        """Return the number of tokens of a model's blocks."""
        return min(self._settings.context or DEFAULT_CONTEXT, loaded.context)

    def last_tokens(self, model: str) -> NDArray[np.int64]:
        """Return the last token of each probe word, [word]."""
        last: dict[int, int] = {}
        for block in self.blocks(model, number_words.NAME).blocks:
            last.update((label, token) for label, token in zip(block.labels, block.ids, strict=True) if label >= 0)
        return np.array([last[label] for label in range(len(number_words.WORDS))])

    def release(self, model: str) -> None:
        """Release the blocks of a model."""
        self._blocks = {key: blocks for key, blocks in self._blocks.items() if key[0] != model}
