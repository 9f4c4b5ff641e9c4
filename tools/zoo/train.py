r"""Train nano models from scratch: ``python -m tools.zoo.train --text FILE --out FOLDER``.

Without further options this trains the models that ship with the package. Options make a bigger zoo::

    python -m tools.zoo.train --text books.txt.xz --out zoo --layers 4 --width 256 --neurons 1024 \
        --tokens 100_000_000 --device cuda

The same command resumes an interrupted run from its last checkpoint.
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

from tools.zoo import text as texts
from tools.zoo.card import write_card
from tools.zoo.recipe import Recipe, default_recipes, untrained_model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

CHECKPOINT_EVERY = 500
"""Optimiser steps between checkpoints, about a minute on one core."""


@dataclass(frozen=True)
class TrainingData:
    """The tokenizer, training tokens and held-out tokens, [token], that all models of a zoo share."""

    tokenizer: PreTrainedTokenizerFast
    train: NDArray[np.uint16]
    held_out: NDArray[np.uint16]


def prepare_data(text: Path, out: Path, vocabulary: int) -> TrainingData:
    """The tokenizer and the token arrays, stored in the output folder by the first call."""
    from transformers import PreTrainedTokenizerFast

    folder = out / f"text-{vocabulary}"
    arrays = {part: folder / f"{part}.npy" for part in ("train", "held_out")}
    if not all(path.exists() for path in arrays.values()):
        folder.mkdir(parents=True, exist_ok=True)
        train, held_out = texts.split_held_out(texts.read_text(text))
        print(f"training a tokenizer of {vocabulary} entries", flush=True)
        tokenizer = texts.train_tokenizer(train, vocabulary)
        tokenizer.save_pretrained(folder)
        print("encoding the text", flush=True)
        for part, piece in (("train", train), ("held_out", held_out)):
            with (folder / f"{part}.tmp").open("wb") as file:
                np.save(file, texts.encode_text(tokenizer, piece))
            (folder / f"{part}.tmp").replace(arrays[part])
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    return TrainingData(tokenizer, *(np.load(arrays[part], mmap_mode="r") for part in ("train", "held_out")))


def learning_rate(recipe: Recipe, step: int) -> float:
    """The learning rate of a step: linear warm-up, then a cosine down to a tenth."""
    if step < recipe.warmup:
        return recipe.learning_rate * (step + 1) / recipe.warmup
    progress = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return recipe.learning_rate * (0.1 + 0.45 * (1 + math.cos(math.pi * min(1.0, progress))))


def make_optimiser(model: PreTrainedModel, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW with weight decay for matrices, and without for biases and norms."""
    groups: dict[bool, list[torch.nn.Parameter]] = {True: [], False: []}
    for parameter in model.parameters():
        groups[parameter.dim() >= 2].append(parameter)
    return torch.optim.AdamW(
        [{"params": p, "weight_decay": recipe.weight_decay if matrix else 0.0} for matrix, p in groups.items()],
        lr=recipe.learning_rate,
        betas=(0.9, 0.95),
        fused=True,
    )


def mean_loss(model: PreTrainedModel, rows: torch.Tensor, amp: torch.autocast) -> torch.Tensor:
    """The mean next-token loss on rows [row, position], in nats per token."""
    with amp:
        logits = model(input_ids=rows, use_cache=False).logits  # [row, position, vocabulary]
    return torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), rows[:, 1:].flatten())


def train_model(recipe: Recipe, data: TrainingData, folder: Path, device: str) -> PreTrainedModel:
    """Train one model, from the checkpoint in ``folder`` if there is one.

    Raises SystemExit if the checkpoint is of another recipe.
    """
    checkpoint = folder / "checkpoint.pt"
    model = untrained_model(recipe).to(device).train()
    optimiser = make_optimiser(model, recipe)
    first = load_checkpoint(checkpoint, model, optimiser, recipe) if checkpoint.exists() else 0
    rows_of_steps = texts.TrainingRows(data.train, recipe.context, recipe.batch, recipe.seed)
    amp = torch.autocast(device.partition(":")[0], dtype=torch.bfloat16)
    bar = tqdm(range(first, recipe.steps), initial=first, total=recipe.steps, desc=recipe.name, mininterval=2.0)
    for step in bar:
        rows = torch.from_numpy(rows_of_steps.batch_at(step)).to(device)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(recipe, step)
        loss = mean_loss(model, rows, amp)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        if step % 50 == 0:
            bar.set_postfix(loss=f"{loss.item():.3f}")
        if (step + 1) % CHECKPOINT_EVERY == 0:
            save_checkpoint(checkpoint, model, optimiser, step + 1, recipe)
    return model.eval()


def save_checkpoint(
    path: Path, model: PreTrainedModel, optimiser: torch.optim.AdamW, step: int, recipe: Recipe
) -> None:
    """Save everything that training needs to resume before ``step``."""
    state: dict[str, Any] = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "step": step}
    part = path.with_suffix(".tmp")
    torch.save({**state, "recipe": recipe.as_dict()}, part)
    part.replace(path)


def load_checkpoint(path: Path, model: PreTrainedModel, optimiser: torch.optim.AdamW, recipe: Recipe) -> int:
    """Restore a model and its optimiser and return the next step. Raises SystemExit if the recipe is another one."""
    state = torch.load(path, map_location=model.device, weights_only=True)
    if state["recipe"] != recipe.as_dict():
        raise SystemExit(f"{path} belongs to another recipe: delete {path.parent} or choose another --out")
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    step: int = state["step"]
    return step


def held_out_loss(model: PreTrainedModel, data: TrainingData, recipe: Recipe, device: str) -> float:
    """The mean loss on the held-out text in float32, in nats per token; the special token is not predicted."""
    width = recipe.context - 1
    count = len(data.held_out) // width
    body = torch.from_numpy(data.held_out[: count * width].astype(np.int64)).view(count, width)
    rows = torch.cat([torch.zeros(count, 1, dtype=torch.int64), body], dim=1)  # [row, position]
    plain = torch.autocast(device.partition(":")[0], enabled=False)
    with torch.inference_mode():
        batches = [(len(part), mean_loss(model, part.to(device), plain).item()) for part in rows.split(64)]
    return sum(n * loss for n, loss in batches) / count


def train_and_save(recipe: Recipe, data: TrainingData, out: Path, device: str) -> None:
    """Train one model and save float16 weights, tokenizer, card and recipe in a folder of its own below ``out``."""
    folder = out / recipe.name
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "recipe.json").exists():
        print(f"{recipe.name}: already finished", flush=True)
        return
    model = train_model(recipe, data, folder, device)
    # The card reports the loss of the weights that are saved, which are in half precision.
    model = model.half().float()
    loss = held_out_loss(model, data, recipe, device)
    model.half().save_pretrained(folder)
    data.tokenizer.save_pretrained(folder)
    write_card(
        folder,
        recipe,
        loss=loss,
        unigram=texts.unigram_entropy(data.train, data.held_out, recipe.vocabulary),
        characters=len(data.tokenizer.decode(data.held_out[:100_000])) / min(100_000, len(data.held_out)),
    )
    (folder / "checkpoint.pt").unlink(missing_ok=True)
    print(f"{recipe.name}: held-out loss {loss:.4f} nats per token", flush=True)


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of the command: files and folders, and choices of the recipe."""
    parser = argparse.ArgumentParser(prog="python -m tools.zoo.train", description=__doc__.splitlines()[0])
    parser.add_argument("--text", type=Path, required=True, help="UTF-8 text in paragraphs, plain or .xz")
    parser.add_argument("--out", type=Path, required=True, help="folder for the models, one subfolder each")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="train only these, e.g. gpt2-a neox-b")
    parser.add_argument("--seeds", type=int, default=3, help="seeds per architecture (default 3)")
    for choice in ("layers", "width", "heads", "neurons", "vocabulary", "context", "tokens", "batch"):
        parser.add_argument(f"--{choice}", type=int, help=f"default {getattr(Recipe('', '', 0), choice):_}")
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--threads", type=int, default=1, help="CPU threads (default 1; to use more cores, train other models at once)"
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Train the requested models, one after the other."""
    options = parse_arguments(argv)
    torch.set_num_threads(options.threads)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    recipes = [r.with_choices(vars(options)) for r in default_recipes(options.seeds)]
    known = [r.name for r in recipes]
    if unknown := set(options.only or ()) - set(known):
        raise SystemExit(f"--only {' '.join(sorted(unknown))}: not in this zoo; it has {', '.join(known)}")
    for recipe in recipes:
        if not options.only or recipe.name in options.only:
            data = prepare_data(options.text, options.out, recipe.vocabulary)
            train_and_save(recipe, data, options.out, options.device)
    return 0


if __name__ == "__main__":
    sys.exit(main())
