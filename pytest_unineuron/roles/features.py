"""Features of tokens that may explain neurons: words, spelling, word classes, position, and the text's language."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import torch

from pytest_unineuron.corpora import number_words
from pytest_unineuron.roles.token_texts import token_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from pytest_unineuron.corpora.blocks import Batch

FREQUENT = 60
"""So many of the most frequent words are features, of a token and of the one before it."""
WORD_CLASSES = {
    "article": "a an the",
    "pronoun": "i you he she it we they me him her us them my your his its our their who",
    "preposition": "of in to for with on at by from about into over after under between through during without",
    "conjunction": "and or but if because while although that than as so",
    "auxiliary": "is are was were be been being am has have had do does did will would can could may might must should",
    "negation": "not no never nor none nothing n't without",
    "number": " ".join(sorted(number_words.NUMBERS)),
}
"""Closed classes of English words, without a tagger."""
SPELLING: dict[str, Callable[[str], bool]] = {
    "starts with a space": lambda token: token[:1] == " ",
    "starts with a capital": lambda token: token.strip()[:1].isupper(),
    "capitals": lambda token: token.strip().isupper(),
    "digit": lambda token: any(character.isdigit() for character in token),
    "punctuation": lambda token: bool(re.fullmatch(r"\s*[^\w\s]+", token)),
    "line break": lambda token: "\n" in token,
    "inside of a word": lambda token: token[:1].isalpha(),
    "not ASCII": lambda token: not token.isascii(),
    "ends in s": lambda token: token.endswith("s"),
    "ends in ing": lambda token: token.endswith("ing"),
    "ends in ed": lambda token: token.endswith("ed"),
    "ends in ly": lambda token: token.endswith("ly"),
}
POSITIONS = {"among the first 8 tokens": 8, "among the first 32 tokens": 32}


class Features:
    """The features of the tokens of some batches. ``names`` has one name for each.

    Frequent words are those of the batches of even groups, in which features are chosen. Languages are features if the
    corpus says in which of several its documents are.
    """

    def __init__(self, tokenizer: Any, batches: Sequence[Batch]) -> None:
        counts: Counter[str] = Counter()
        ids = torch.cat([batch.ids.flatten() for batch in batches]).unique().tolist()
        self._tokens = token_texts(tokenizer, ids)
        for batch in batches:
            if batch.group % 2 == 0:
                counts.update(self._word(token) for token in batch.ids[batch.text_mask].tolist())
        words = [word for word, _ in counts.most_common(FREQUENT + 1) if word][:FREQUENT]
        own = {f"word {word!r}": (lambda token, word=word: token.strip().lower() == word) for word in words}
        classes = {name: frozenset(members.split()) for name, members in WORD_CLASSES.items()}
        listed = {
            name: (lambda token, members=members: token.strip().lower() in members) for name, members in classes.items()
        }
        tests: list[Callable[[str], bool]] = [*own.values(), *listed.values(), *SPELLING.values()]
        table = [[test(self._tokens[token]) for test in tests] for token in ids]
        self._rows = torch.zeros(max(ids) + 1, dtype=torch.int64)
        self._rows[torch.tensor(ids)] = torch.arange(len(ids))
        self._table = torch.tensor(table, dtype=torch.float64)  # [known token, feature]
        spelled = [*own, *listed, *SPELLING]
        self._languages = sorted({language for batch in batches for language in batch.languages if language})
        if len(self._languages) < 2:
            self._languages = []
        languages = (f"language {language}" for language in self._languages)
        self.names = (*spelled, *(f"after {name}" for name in spelled), *POSITIONS, *languages)

    def _word(self, token: int) -> str:
        return self._tokens[token].strip().lower()

    def of(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the features of every position, [row · position, feature] of 0 and 1, and which positions count.

        A position counts if it and the one before it are text, so that both have features.
        """
        own = self._table[self._rows[batch.ids]]  # [row, position, feature]
        before = torch.zeros_like(own)
        before[:, 1:] = own[:, :-1]
        number = batch.text_mask.cumsum(dim=1)
        early = torch.stack([(number <= most).double() for most in POSITIONS.values()], dim=-1)
        counted = batch.text_mask.clone()
        counted[:, 1:] &= batch.text_mask[:, :-1]
        counted[:, 0] = False
        spoken = [[language == of_row for language in self._languages] for of_row in batch.languages]
        language = torch.tensor(spoken, dtype=torch.float64)[:, None].expand(-1, own.shape[1], -1)
        return torch.cat([own, before, early, language], dim=-1).flatten(0, 1), counted.flatten()
