"""The model card and the recipe in JSON that are saved with the weights of a nano model."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import torch

from tools.zoo.text import file_digest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from transformers import PreTrainedModel

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
| tokenizer | byte-level BPE, {vocabulary} entries, {characters_per_token:.2f} characters per token, shared by the zoo |
| context | {context} tokens, the first of them `<|endoftext|>` |
| text | public-domain English prose (40 Standard Ebooks productions, CC0); the last 1 % held out |
| tokens seen | {tokens:,} |
| optimiser | AdamW, learning rate {learning_rate} with {warmup} steps of warm-up, weight decay {weight_decay} |
| held-out loss | {held_out_loss:.4f} nats per token ({bits:.3f} bits per character) |
| unigram entropy | {unigram_entropy:.4f} nats per token: what knowing only the token frequencies would cost |
| weights | float16, SHA-256 `{weights_sha256}` |
| after {early_step:,} steps | loss {early_loss:.4f}, SHA-256 of the parameters `{early_sha256}` ({early_processor}) |
{universality}
Made by `python -m tools.zoo.train --text books.txt.xz --out zoo --only {name}`; `recipe.json` holds every choice.
The same command with `--check` and the folder of this model trains the first steps again and compares them.
"""


def write_card(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write ``README.md`` and then ``recipe.json``, which marks the folder as that of a finished model.

    ``facts`` are the recipe and what was measured of the model; the digest of the weights is added.
    """
    facts = {**facts, "weights_sha256": file_digest(folder / "model.safetensors")}
    text = TEMPLATE.format(**{**facts, "universality": universality_table(facts)}, bits=_bits(facts))
    (folder / "README.md").write_text(text, encoding="utf-8")
    (folder / "recipe.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def _bits(facts: Mapping[str, Any]) -> float:
    """The loss in bits per character."""
    bits: float = facts["held_out_loss"] / facts["characters_per_token"] / 0.6931471805599453
    return bits


def universality_table(facts: Mapping[str, Any]) -> str:
    """The shares of universal neurons on each corpus; empty while they are not measured."""
    if "universality" not in facts:
        return ""
    rows = [
        "",
        "| excess correlation with the other seeds | " + " | ".join(f"above {b}" for b in (0.5, 0.4, 0.3)) + " |",
    ]
    rows += ["|---|---|---|---|"]
    for corpus, found in facts["universality"].items():
        for title, key in ((f"share of neurons, {corpus}", "share"), ("largest share of a null model", "largest_null")):
            rows.append(f"| {title} | " + " | ".join(f"{share:.2%}" for share in found[key]) + " |")
    return "\n".join(rows) + "\n"


def parameter_digest(model: PreTrainedModel) -> str:
    """The SHA-256 of all parameters in the order of their names, in hexadecimal."""
    digest = hashlib.sha256()
    for _, parameter in sorted(model.named_parameters()):
        digest.update(parameter.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def processor(device: str) -> str:
    """The processor or GPU that trains, and the version of torch."""
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else torch.cpu.get_capabilities()["cpu_name"]
    return f"{name}, torch {torch.__version__}"
