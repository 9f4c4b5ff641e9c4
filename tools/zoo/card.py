"""The model card and the recipe in JSON that are saved with the weights of a nano model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tools.zoo.text import file_digest

if TYPE_CHECKING:
    from pathlib import Path

    from tools.zoo.recipe import Recipe

TEMPLATE = """\
---
license: mit
language: en
library_name: transformers
tags: [text-generation, universal-neurons, toy]
---
# nano:{name}

A {architecture} language model small enough to travel inside a Python package. It exists so that
measurements of neurons can be tried on a model that was really trained. It writes no useful text.

| | |
|---|---|
| architecture | {architecture}, {layers} layers, width {width}, {heads} heads, {neurons} neurons per layer |
| family and seed | {family}, seed {seed} (initialisation and order of the text) |
| tokenizer | byte-level BPE, {vocabulary} entries, {characters:.2f} characters per token, shared by the zoo |
| context | {context} tokens, the first of them `<|endoftext|>` |
| text | public-domain English prose (40 Standard Ebooks productions, CC0); the last 1 % held out |
| tokens seen | {tokens:,} |
| optimiser | AdamW, learning rate {learning_rate} with {warmup} steps of warm-up, weight decay {weight_decay} |
| held-out loss | {loss:.4f} nats per token ({bits:.3f} bits per character) |
| unigram entropy | {unigram:.4f} nats per token: what knowing only the token frequencies would cost |
| weights | float16, SHA-256 `{digest}` |

Made by `python -m tools.zoo.train`; `recipe.json` holds every choice.
"""


def write_card(folder: Path, recipe: Recipe, *, loss: float, unigram: float, characters: float) -> None:
    """Write ``README.md`` and then ``recipe.json``, which marks the folder as that of a finished model.

    ``loss`` and ``unigram`` are in nats per token, ``characters`` is the mean number of characters per token.
    """
    weights = file_digest(folder / "model.safetensors")
    facts = {
        **recipe.as_dict(),
        "family": recipe.family,
        "tokens": recipe.steps * recipe.batch * recipe.context,
        "held_out_loss": round(loss, 4),
        "unigram_entropy": round(unigram, 4),
        "characters_per_token": round(characters, 4),
        "weights_sha256": weights,
    }
    bits = loss / characters / 0.6931471805599453
    text = TEMPLATE.format(
        **{**facts, "loss": loss, "unigram": unigram, "characters": characters, "bits": bits, "digest": weights}
    )
    (folder / "README.md").write_text(text, encoding="utf-8")
    (folder / "recipe.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
