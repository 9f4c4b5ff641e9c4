"""The training text: one tokenizer, one array of token ids, and the order in which a seed reads it."""

from __future__ import annotations

import hashlib
import lzma
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerFast

BOS = "<|endoftext|>"
HELD_OUT = 0.01
"""The share of the text, counted from its end, that no model is trained on."""


def read_text(path: Path) -> str:
    """The text of a file, unpacked if its name ends in ``.xz``."""
    opener = lzma.open if path.suffix == ".xz" else open
    with opener(path, "rt", encoding="utf-8") as file:
        return str(file.read())


def split(text: str) -> tuple[str, str]:
    """Training text and held-out text, cut at the paragraph nearest to the last hundredth."""
    cut = text.find("\n\n", int(len(text) * (1 - HELD_OUT)))
    cut = len(text) if cut < 0 else cut
    return text[:cut], text[cut:].lstrip("\n")


def train_tokenizer(text: str, vocabulary: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with ``vocabulary`` entries: one special token, 256 bytes, the rest merges.

    Any UTF-8 text can be written with it. The special token opens a document; nothing else is special.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    bpe.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[BOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(text.splitlines(keepends=True), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token=BOS, eos_token=BOS)


def encode(tokenizer: PreTrainedTokenizerFast, text: str) -> NDArray[np.uint16]:
    """Token ids of a long text, encoded in pieces that end at a paragraph, so that memory stays small."""
    pieces, start, step = [], 0, 1_000_000
    while start < len(text):
        stop = text.find("\n\n", start + step)
        stop = len(text) if stop < 0 else stop
        ids = tokenizer(text[start:stop], add_special_tokens=False, verbose=False)["input_ids"]
        pieces.append(np.asarray(ids, dtype=np.uint16))
        start = stop
    return np.concatenate(pieces)


@dataclass(frozen=True)
class Reader:
    """The rows a seed reads, in its own order: ``row(step)`` needs no state, so training can resume anywhere.

    ``ids`` is the text, [token]. A row is the special token and ``context - 1`` consecutive tokens; every
    epoch cuts the text at another phase and shuffles the rows anew.
    """

    ids: NDArray[np.uint16]
    context: int
    batch: int
    seed: int
    bos: int = 0

    def rows(self, step: int) -> NDArray[np.int64]:
        """The batch of one optimiser step, [row, position]."""
        width = self.context - 1
        per_epoch = (len(self.ids) - width) // width // self.batch
        epoch, index = divmod(step, max(1, per_epoch))
        starts = _starts(len(self.ids), width, self.seed, epoch)[index * self.batch : (index + 1) * self.batch]
        body = np.stack([self.ids[s : s + width] for s in starts]).astype(np.int64)  # [row, position]
        return np.concatenate([np.full((len(body), 1), self.bos), body], axis=1)


@lru_cache(maxsize=1)
def _starts(tokens: int, width: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Where the rows of one epoch begin, in the order in which they are read."""
    random = np.random.default_rng((seed, epoch))
    phase = int(random.integers(width))
    order: NDArray[np.int64] = random.permutation((tokens - phase) // width)
    return phase + width * order


def unigram_entropy(train: NDArray[np.uint16], held_out: NDArray[np.uint16], vocabulary: int) -> float:
    """Cross-entropy of the held-out tokens under the training text's token frequencies, in nats per token."""
    counts = np.bincount(train, minlength=vocabulary) + 1.0
    return float(-np.log(counts / counts.sum())[held_out].mean())


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
