r"""Train nano models from scratch: ``python -m tools.zoo.train --text FILE --out FOLDER``.

Without further choices this makes the models that ship with the package. A bigger zoo is one command too::

    python -m tools.zoo.train --text books.txt.xz --out zoo --layers 4 --width 256 --neurons 1024 \
        --tokens 100_000_000 --device cuda

An interrupted run goes on from its last checkpoint when the same command is given again.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tqdm import tqdm

from tools.zoo import card
from tools.zoo import text as texts
from tools.zoo.recipe import Recipe, default_zoo, untrained

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

CHECKPOINT_EVERY = 500
"""Optimiser steps between checkpoints: about a minute of work on one core."""


@dataclass(frozen=True)
class Material:
    """What all models of a zoo share: the tokenizer, the training tokens and the held-out tokens."""

    tokenizer: PreTrainedTokenizerFast
    train: NDArray[np.uint16]
    held_out: NDArray[np.uint16]


def prepare(text: Path, out: Path, vocabulary: int) -> Material:
    """The tokenizer and the token arrays, made once per output folder and read from there afterwards."""
    from transformers import PreTrainedTokenizerFast

    folder = out / f"text-{vocabulary}"
    arrays = {part: folder / f"{part}.npy" for part in ("train", "held_out")}
    if not all(path.exists() for path in arrays.values()):
        folder.mkdir(parents=True, exist_ok=True)
        train, held_out = texts.split(texts.read_text(text))
        print(f"training a tokenizer of {vocabulary} entries", flush=True)
        tokenizer = texts.train_tokenizer(train, vocabulary)
        tokenizer.save_pretrained(folder)
        print("encoding the text", flush=True)
        for part, piece in (("train", train), ("held_out", held_out)):
            with (folder / f"{part}.tmp").open("wb") as file:
                np.save(file, texts.encode(tokenizer, piece))
            (folder / f"{part}.tmp").replace(arrays[part])
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    return Material(tokenizer, *(np.load(arrays[part], mmap_mode="r") for part in ("train", "held_out")))


def learning_rate(recipe: Recipe, step: int) -> float:
    """Linear warm-up, then a cosine down to a tenth."""
    if step < recipe.warmup:
        return recipe.learning_rate * (step + 1) / recipe.warmup
    done = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return recipe.learning_rate * (0.1 + 0.45 * (1 + math.cos(math.pi * min(1.0, done))))


def optimiser(model: PreTrainedModel, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW that decays matrices and leaves biases and norms alone."""
    groups: dict[bool, list[torch.nn.Parameter]] = {True: [], False: []}
    for parameter in model.parameters():
        groups[parameter.dim() >= 2].append(parameter)
    return torch.optim.AdamW(
        [{"params": p, "weight_decay": recipe.weight_decay if matrix else 0.0} for matrix, p in groups.items()],
        lr=recipe.learning_rate,
        betas=(0.9, 0.95),
        fused=True,
    )


def loss_on(model: PreTrainedModel, rows: torch.Tensor, amp: torch.autocast) -> torch.Tensor:
    """Mean next-token loss over rows [row, position], in nats per token."""
    with amp:
        logits = model(input_ids=rows, use_cache=False).logits  # [row, position, vocabulary]
    return torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), rows[:, 1:].flatten())


def train(recipe: Recipe, material: Material, folder: Path, device: str) -> PreTrainedModel:
    """Train one model, going on from ``folder``'s checkpoint if there is one of the same recipe."""
    checkpoint = folder / "checkpoint.pt"
    model = untrained(recipe).to(device).train()
    adam = optimiser(model, recipe)
    first = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        if state["recipe"] != recipe.as_dict():
            raise SystemExit(f"{checkpoint} belongs to another recipe: delete {folder} or choose another --out")
        model.load_state_dict(state["model"])
        adam.load_state_dict(state["optimiser"])
        first = state["step"]
    reader = texts.Reader(material.train, recipe.context, recipe.batch, recipe.seed)
    amp = torch.autocast(device.partition(":")[0], dtype=torch.bfloat16)
    bar = tqdm(range(first, recipe.steps), initial=first, total=recipe.steps, desc=recipe.name, mininterval=2.0)
    for step in bar:
        rows = torch.from_numpy(reader.rows(step)).to(device)
        for group in adam.param_groups:
            group["lr"] = learning_rate(recipe, step)
        loss = loss_on(model, rows, amp)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
        adam.zero_grad()
        if step % 50 == 0:
            bar.set_postfix(loss=f"{loss.item():.3f}")
        if (step + 1) % CHECKPOINT_EVERY == 0:
            _save(checkpoint, model, adam, step + 1, recipe)
    return model.eval()


def _save(path: Path, model: PreTrainedModel, adam: torch.optim.AdamW, step: int, recipe: Recipe) -> None:
    state: dict[str, Any] = {"model": model.state_dict(), "optimiser": adam.state_dict(), "step": step}
    partial = path.with_suffix(".tmp")
    torch.save({**state, "recipe": recipe.as_dict()}, partial)
    partial.replace(path)


def held_out_loss(model: PreTrainedModel, material: Material, recipe: Recipe, device: str) -> float:
    """Mean loss over the whole held-out text in float32, in nats per token; the special token is not predicted."""
    width = recipe.context - 1
    count = len(material.held_out) // width
    body = torch.from_numpy(material.held_out[: count * width].astype(np.int64)).view(count, width)
    rows = torch.cat([torch.zeros(count, 1, dtype=torch.int64), body], dim=1)  # [row, position]
    plain = torch.autocast(device.partition(":")[0], enabled=False)
    with torch.inference_mode():
        batches = [(len(part), loss_on(model, part.to(device), plain).item()) for part in rows.split(64)]
    return sum(n * loss for n, loss in batches) / count


def make(recipe: Recipe, material: Material, out: Path, device: str) -> Path:
    """Train one model and write its folder: fp16 weights, tokenizer, recipe and card."""
    folder = out / recipe.name
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "recipe.json").exists():
        print(f"{recipe.name}: finished already", flush=True)
        return folder
    model = train(recipe, material, folder, device)
    # Half precision first: the card reports the loss of the weights that ship.
    model = model.half().float()
    loss = held_out_loss(model, material, recipe, device)
    model.half().save_pretrained(folder)
    material.tokenizer.save_pretrained(folder)
    card.write(
        folder,
        recipe,
        loss=loss,
        unigram=texts.unigram_entropy(material.train, material.held_out, recipe.vocabulary),
        characters=len(material.tokenizer.decode(material.held_out[:100_000])) / min(100_000, len(material.held_out)),
    )
    (folder / "checkpoint.pt").unlink(missing_ok=True)
    print(f"{recipe.name}: held-out loss {loss:.4f} nats per token", flush=True)
    return folder


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line: where to read and write, and any choice of the recipe to change."""
    parser = argparse.ArgumentParser(prog="python -m tools.zoo.train", description=__doc__.splitlines()[0])
    parser.add_argument("--text", type=Path, required=True, help="UTF-8 text, plain or .xz, in paragraphs")
    parser.add_argument("--out", type=Path, required=True, help="folder for the models, one subfolder each")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="train only these, e.g. gpt2-a neox-b")
    parser.add_argument("--seeds", type=int, default=3, help="seeds per architecture (default 3)")
    for choice in ("layers", "width", "heads", "neurons", "vocabulary", "context", "tokens", "batch"):
        parser.add_argument(f"--{choice}", type=int, help=f"default {getattr(Recipe('', '', 0), choice):_}")
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1; run two models side by side)")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Train every model asked for, one after the other."""
    options = arguments(argv)
    torch.set_num_threads(options.threads)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    recipes = [r.with_choices(vars(options)) for r in default_zoo(options.seeds)]
    known = [r.name for r in recipes]
    if unknown := set(options.only or ()) - set(known):
        raise SystemExit(f"--only {' '.join(sorted(unknown))}: not in this zoo; it has {', '.join(known)}")
    for recipe in recipes:
        if not options.only or recipe.name in options.only:
            material = prepare(options.text, options.out, recipe.vocabulary)
            make(recipe, material, options.out, options.device)
    return 0


if __name__ == "__main__":
    sys.exit(main())
