"""The training text: a tokenizer, token ids, and the rows of each optimiser step."""

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
HELD_OUT_SHARE = 0.01
"""Share of the text, at its end, that no model is trained on."""


def read_text(path: Path) -> str:
    """The text of a file, decompressed if its name ends in ``.xz``."""
    opener = lzma.open if path.suffix == ".xz" else open
    with opener(path, "rt", encoding="utf-8") as file:
        return str(file.read())


def split_held_out(text: str) -> tuple[str, str]:
    """The training text and the held-out text, which starts at the first paragraph of the last hundredth."""
    end = text.find("\n\n", int(len(text) * (1 - HELD_OUT_SHARE)))
    end = len(text) if end < 0 else end
    return text[:end], text[end:].lstrip("\n")


def train_tokenizer(text: str, vocabulary: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with ``vocabulary`` entries: one special token, 256 bytes, and merges.

    It can encode any UTF-8 text. The special token starts a row.
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


def encode_text(tokenizer: PreTrainedTokenizerFast, text: str) -> NDArray[np.uint16]:
    """The token ids of a long text, [token], encoded in pieces that end with a paragraph to save memory."""
    pieces, start, step = [], 0, 1_000_000
    while start < len(text):
        stop = text.find("\n\n", start + step)
        stop = len(text) if stop < 0 else stop
        ids = tokenizer(text[start:stop], add_special_tokens=False, verbose=False)["input_ids"]
        pieces.append(np.asarray(ids, dtype=np.uint16))
        start = stop
    return np.concatenate(pieces)


@dataclass(frozen=True)
class TrainingRows:
    """The rows of each optimiser step, in an order that depends on the seed; no state, so training can resume anywhere.

    ``ids`` is the text, [token]. A row is the special token and ``context - 1`` consecutive tokens. Each epoch starts
    the first row at another token and shuffles the rows.
    """

    ids: NDArray[np.uint16]
    context: int
    batch: int
    seed: int
    bos: int = 0

    def batch_at(self, step: int) -> NDArray[np.int64]:
        """The rows of one optimiser step, [row, position]."""
        width = self.context - 1
        per_epoch = (len(self.ids) - width) // width // self.batch
        epoch, index = divmod(step, max(1, per_epoch))
        starts = _starts(len(self.ids), width, self.seed, epoch)[index * self.batch : (index + 1) * self.batch]
        body = np.stack([self.ids[s : s + width] for s in starts]).astype(np.int64)  # [row, position]
        return np.concatenate([np.full((len(body), 1), self.bos), body], axis=1)


@lru_cache(maxsize=1)
def _starts(tokens: int, width: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The first token of each row of one epoch, in the order of reading, [row]."""
    generator = np.random.default_rng((seed, epoch))
    phase = int(generator.integers(width))
    order: NDArray[np.int64] = generator.permutation((tokens - phase) // width)
    return phase + width * order


def unigram_entropy(train: NDArray[np.uint16], held_out: NDArray[np.uint16], vocabulary: int) -> float:
    """The cross-entropy of the held-out tokens under the token frequencies of the training text, in nats per token."""
    counts = np.bincount(train, minlength=vocabulary) + 1.0
    return float(-np.log(counts / counts.sum())[held_out].mean())


def file_digest(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
