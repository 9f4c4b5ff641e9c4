r"""Train nano models from scratch: ``python -m tools.zoo.train --text FILE --out FOLDER``.

Without further options this trains the models that ship with the package. Options make a bigger zoo::

    python -m tools.zoo.train --text books.txt.xz --out zoo --layers 4 --width 256 --neurons 1024 \
        --tokens 100_000_000 --device cuda

The same command resumes an interrupted run from its last checkpoint. Start it at the lowest priority (``nice -n 19``)
and once per core, each with other names after ``--only``, and it leaves the machine to other work. With ``--check
MODEL`` it trains the first steps of a finished model again and compares them with what the card of that model states.
"""

from __future__ import annotations

import argparse
import json
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
from tools.zoo.card import parameter_digest, processor, write_card
from tools.zoo.recipe import Recipe, default_recipes, untrained_model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

CHECKPOINT_EVERY = 500
"""Optimiser steps between checkpoints, about a minute on one core."""

EARLY = "early.json"
"""The file with the facts of the first steps, in the folder of a model in training."""

SAME_LOSS = 0.02
"""How far two losses after the first steps may be apart, in nats per token, when rounding is all that differs."""


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


@dataclass(frozen=True)
class Way:
    """How to compute: the device, and whether steps are compiled (twice as fast on a processor; needs a C++ compiler).

    Loss curves depend on it within rounding only, so it is no part of the recipe.
    """

    device: str
    compiled: bool

    def forward(self, model: PreTrainedModel) -> PreTrainedModel:
        """The model as training calls it.

        Attention is spelt out on a processor, where the fused kernel is slow in bfloat16; compiling fuses it anyway.
        """
        if self.device == "cpu":
            model.set_attn_implementation("eager")
        compiled: PreTrainedModel = torch.compile(model) if self.compiled else model
        return compiled

    def autocast(self) -> torch.autocast:
        """Products in bfloat16 where the device multiplies it natively."""
        kind = self.device.partition(":")[0]
        able = torch.cpu.get_capabilities()
        native = kind != "cpu" or able.get("avx512_bf16") or able.get("amx_bf16")
        return torch.autocast(kind, dtype=torch.bfloat16, enabled=bool(native))


def train_model(recipe: Recipe, data: TrainingData, folder: Path, way: Way, last: int) -> PreTrainedModel:
    """Train one model up to step ``last``, from the checkpoint in ``folder`` if there is one.

    Raises SystemExit if the checkpoint is of another recipe.
    """
    checkpoint = folder / "checkpoint.pt"
    model = untrained_model(recipe).to(way.device).train()
    optimiser = make_optimiser(model, recipe)
    first = load_checkpoint(checkpoint, model, optimiser, recipe) if checkpoint.exists() else 0
    rows_of_steps = texts.TrainingRows(data.train, recipe.context, recipe.batch, recipe.seed)
    forward, amp = way.forward(model), way.autocast()
    bar = tqdm(range(first, last), initial=first, total=last, desc=recipe.name, mininterval=2.0)
    for step in bar:
        rows = torch.from_numpy(rows_of_steps.batch_at(step)).to(way.device)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(recipe, step)
        loss = mean_loss(forward, rows, amp)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        if step % 50 == 0:
            bar.set_postfix(loss=f"{loss.item():.3f}")
        if (step + 1) % CHECKPOINT_EVERY == 0:
            save_checkpoint(checkpoint, model, optimiser, step + 1, recipe)
        if step + 1 == recipe.early_step:
            (folder / EARLY).write_text(json.dumps(early_facts(model, data, recipe, way)), encoding="utf-8")
    return model.eval()


def early_facts(model: PreTrainedModel, data: TrainingData, recipe: Recipe, way: Way) -> dict[str, Any]:
    """What the card states of the first steps: loss on the held-out text, digest of the parameters, processor."""
    loss = held_out_loss(model, data, recipe, way.device)
    return {
        "early_step": recipe.early_step,
        "early_loss": round(loss, 4),
        "early_sha256": parameter_digest(model),
        "early_processor": processor(way.device),
    }


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


def train_and_save(recipe: Recipe, data: TrainingData, out: Path, way: Way) -> None:
    """Train one model and save float16 weights, tokenizer, card and recipe in a folder of its own below ``out``."""
    folder = out / recipe.name
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "recipe.json").exists():
        print(f"{recipe.name}: already finished", flush=True)
        return
    model = train_model(recipe, data, folder, way, recipe.steps)
    # The card reports the loss of the weights that are saved, which are in half precision.
    model = model.half().float()
    facts = finished_facts(model, data, recipe, way)
    model.half().save_pretrained(folder)
    data.tokenizer.save_pretrained(folder)
    early = json.loads((folder / EARLY).read_text(encoding="utf-8"))
    write_card(folder, {**recipe.as_dict(), "family": recipe.family, **facts, **early})
    for name in ("checkpoint.pt", EARLY):
        (folder / name).unlink(missing_ok=True)
    print(f"{recipe.name}: held-out loss {facts['held_out_loss']:.4f} nats per token", flush=True)


def finished_facts(model: PreTrainedModel, data: TrainingData, recipe: Recipe, way: Way) -> dict[str, Any]:
    """What the card states of a finished model: tokens seen, losses in nats per token, characters per token."""
    sample = data.held_out[:100_000]
    return {
        "tokens": recipe.steps * recipe.batch * recipe.context,
        "held_out_loss": round(held_out_loss(model, data, recipe, way.device), 4),
        "unigram_entropy": round(texts.unigram_entropy(data.train, data.held_out, recipe.vocabulary), 4),
        "characters_per_token": round(len(data.tokenizer.decode(sample)) / len(sample), 4),
    }


def check(finished: Path, text: Path, out: Path, way: Way) -> int:
    """Train the first steps of a finished model again in ``out``; 0 if they give what its card states, 1 if not.

    Weights are equal bit by bit on the same processor and libraries. Elsewhere the losses may differ by ``SAME_LOSS``.
    """
    stated = json.loads((finished / "recipe.json").read_text(encoding="utf-8"))
    recipe = Recipe("", "", 0).with_choices(stated)
    folder = out / f"{recipe.name}-check"
    folder.mkdir(parents=True, exist_ok=True)
    train_model(recipe, prepare_data(text, out, recipe.vocabulary), folder, way, recipe.early_step)
    found = json.loads((folder / EARLY).read_text(encoding="utf-8"))
    same = found["early_sha256"] == stated["early_sha256"]
    near = abs(found["early_loss"] - stated["early_loss"]) <= SAME_LOSS
    print(
        f"{recipe.name} after {recipe.early_step} steps: {'the same weights' if same else 'other weights'}, loss "
        f"{found['early_loss']:.4f} here ({found['early_processor']}), "
        f"{stated['early_loss']:.4f} on the card ({stated['early_processor']})"
    )
    return 0 if same or near else 1


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of the command: files and folders, and choices of the recipe."""
    parser = argparse.ArgumentParser(prog="python -m tools.zoo.train", description=__doc__.splitlines()[0])
    parser.add_argument("--text", type=Path, required=True, help="UTF-8 text in paragraphs, plain or .xz")
    parser.add_argument("--out", type=Path, required=True, help="folder for the models, one subfolder each")
    parser.add_argument("--check", type=Path, metavar="MODEL", help="folder of a finished model to compare with")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="train only these, e.g. gpt2-a neox-b")
    parser.add_argument("--seeds", type=int, default=3, help="seeds per architecture (default 3)")
    for choice in ("layers", "width", "heads", "neurons", "vocabulary", "context", "tokens", "batch"):
        parser.add_argument(f"--{choice}", type=int, help=f"default {getattr(Recipe('', '', 0), choice):_}")
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--compile",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="compile the steps (needs a C++ compiler)",
    )
    parser.add_argument(
        "--threads", type=int, default=1, help="CPU threads (default 1; to use more cores, train other models at once)"
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Train the requested models, one after the other."""
    options = parse_arguments(argv)
    torch.set_num_threads(options.threads)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    way = Way(options.device, options.compile)
    if options.check:
        return check(options.check, options.text, options.out, way)
    recipes = [r.with_choices(vars(options)) for r in default_recipes(options.seeds)]
    known = [r.name for r in recipes]
    if unknown := set(options.only or ()) - set(known):
        raise SystemExit(f"--only {' '.join(sorted(unknown))}: not in this zoo; it has {', '.join(known)}")
    for recipe in recipes:
        if not options.only or recipe.name in options.only:
            data = prepare_data(options.text, options.out, recipe.vocabulary)
            train_and_save(recipe, data, options.out, way)
    return 0


if __name__ == "__main__":
    sys.exit(main())
