"""Every setting, declared once: its name, default and help, and whether results depend on it.

From this follow the flag, the environment variable, the ini key, cache keys, locks, comparability with a baseline,
and the command that reproduces a trial.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

POLICIES = ("primary", "all", "majority", "any")
"""How the outcomes of trials make the verdict on a criterion, see ``evidence.verdict``."""
ACROSS_WEIGHTS, ACROSS_CORPUS = "weights", "corpus"
"""The differences that two compared runs may have, see ``baseline.comparable``."""

DEFAULT_CONTEXT = 512
"""The context length that is used unless set, where the model has as much."""
CPU_POSITIONS, GPU_POSITIONS = 1024, 32_768
"""Tokens per forward pass, unless set. On a CPU, activations of so many tokens stay in its cache."""


class Affects(Enum):
    """The part of a result that a setting changes.

    Every setting but those that affect NOTHING is stated in the command that reproduces a trial. A lock, and the
    comparison with a baseline, hold to all of these but ROUNDING. Of the cache, results are named by the tokens that
    were read (TEXT), by the settings that affect ACTIVATIONS or, for comparisons of seeds, the COMPARISON, and by
    what is in force of those that affect ROUNDING.
    """

    NOTHING = "where results go and what they are held against"
    RUN = "which models, corpora and trials are run"
    TEXT = "which tokens are read"
    ACTIVATIONS = "activations, and everything that is computed from them"
    COMPARISON = "the comparison of a model with its seeds"
    ROUNDING = "numbers within rounding, by how they are computed"
    VERDICT = "how trials are controlled and judged"


@dataclass(frozen=True)
class Option:
    """One option in all its forms: ``--unineuron-NAME``, ``UNINEURON_NAME`` and the ini key ``unineuron_name``.

    ``kind`` is str, int, bool or list (repeatable on the command line, a list of lines in the ini file, and in
    the environment parts between ``separator``s).
    """

    setting: str
    kind: type
    default: Any
    help: str
    affects: Affects
    choices: tuple[str, ...] = ()
    metavar: str = "TEXT"
    separator: str = ","

    @property
    def name(self) -> str:
        """The name as it is typed, without the prefix."""
        return self.setting.replace("_", "-")

    @property
    def flag(self) -> str:
        """The flag on the command line."""
        return f"--unineuron-{self.name}"

    @property
    def key(self) -> str:
        """The ini key, under which argparse stores the flag's value too."""
        return f"unineuron_{self.setting}"

    @property
    def variable(self) -> str:
        """The environment variable."""
        return self.key.upper()


def declare(default: Any, help: str, affects: Affects = Affects.NOTHING, **more: Any) -> Any:
    """Return the field of a setting; ``more`` are ``choices``, ``metavar`` and ``separator`` of its Option."""
    kind = list if isinstance(default, tuple) else type(default)
    return field(default=default, metadata={"option": {"kind": kind, "help": help, "affects": affects, **more}})


DEFAULT_MODELS = {"nano:neox-a": ("GT1", "GT3"), "nano:gpt2-a": ("GT2", "GT3")}
"""The models of a run that names none, with the criteria each is asked about: the first is new, and the other is of the
family that was studied, whose findings are tried on new data."""


@dataclass(frozen=True)
class Settings:
    """All settings of a run. Built once, passed as a value, stored with the results."""

    model: tuple[str, ...] = declare(
        (),
        "a model under test: hub id[@revision], folder, .gguf file, nano:NAME or untrained:MODEL; repeatable (default: "
        "nano:neox-a for GT1 and GT3, nano:gpt2-a for GT2 and GT3)",
        Affects.RUN,
        metavar="MODEL",
    )
    seed: tuple[str, ...] = declare(
        (),
        "a further training seed of the model, for trials that compare seeds; repeatable (default: what the registry "
        "knows)",
        Affects.RUN,
        metavar="MODEL",
    )
    corpus: tuple[str, ...] = declare(
        ("news", "code", "multilingual"),
        "a corpus of new data: prose, news, code or multilingual, which are bundled, stdlib, pydoc, a file of text "
        "(.txt, .jsonl, .json, .csv, .tsv, .parquet), a folder of them, or a data set's name; repeatable",
        Affects.RUN,
        metavar="CORPUS",
    )
    label: tuple[str, ...] = declare(
        (),
        "another name for a model or corpus than the one typed, by which a baseline knows it: NAME=MODEL, such as "
        "base=./checkpoints/latest; repeatable",
        Affects.RUN,
        metavar="NAME=MODEL",
    )
    reference: str = declare("prose", "the corpus that new data is compared with", Affects.TEXT, metavar="CORPUS")
    controls: tuple[str, ...] = declare(
        ("default",), "the control arms: default, none, or names; repeatable", Affects.VERDICT, metavar="NAME"
    )
    control_draws: int = declare(1, "independent draws of each control", Affects.VERDICT, metavar="N")
    policy: str = declare(
        "primary",
        f"how the outcomes of trials decide a criterion: {', '.join(POLICIES)}",
        Affects.VERDICT,
        choices=POLICIES,
        metavar="POLICY",
    )
    protocol: str = declare(
        "",
        "judge each criterion also by a protocol as published: mechevalagent (at most three tries, one success)",
        choices=("mechevalagent",),
        metavar="PROTOCOL",
    )
    holm: bool = declare(
        False, "let a trial pass only after Holm's correction over all trials of its criterion", Affects.VERDICT
    )
    accept_vacuous: bool = declare(
        False, "count trials that also pass on a control, as the notebook did", Affects.VERDICT
    )
    fail_on: str = declare(
        "trial",
        "what makes the run fail: trial, criterion, regression or never (default: trial; with a baseline, regression)",
        choices=("trial", "criterion", "regression", "never"),
        metavar="WHAT",
    )
    baseline: str = declare("", "an accepted report (pytest-unineuron accept) to compare with", metavar="FILE")
    tolerate: tuple[str, ...] = declare(
        ("not-run",),
        "states of trials of the baseline that do not fail the run: missing, incomparable, not-run, or none; "
        "repeatable",
        choices=("missing", "incomparable", "not-run", "none"),
        metavar="STATE",
    )
    across: tuple[str, ...] = declare(
        (),
        "what may differ from the baseline and still be compared: weights, corpus; repeatable",
        choices=(ACROSS_WEIGHTS, ACROSS_CORPUS),
        metavar="WHAT",
    )
    waive: tuple[str, ...] = declare(
        (),
        "a regression that is accepted for now: 'TRIAL[CORPUS] on MODEL until YYYY-MM-DD: REASON'; repeatable",
        metavar="WAIVER",
        separator="\n",
    )
    lock: str = declare("", "hold the run to what was locked before it (pytest-unineuron lock)", metavar="FILE")
    write_lock: str = declare(
        "", "run control arms only, and write bounds, settings and digests to this lock file", metavar="FILE"
    )
    out: str = declare("evaluation", "folder for the summary and the reports", metavar="FOLDER")
    findings: str = declare(
        "",
        "a checkout of the paper's repository, to report its published neurons",
        Affects.RUN,
        metavar="FOLDER",
    )
    neurons: str = declare(
        "",
        "output projections whose inputs are the neurons, such as 'encoder.layers.*.fc2', instead of finding them",
        Affects.ACTIVATIONS,
        metavar="PATTERN",
    )
    tokens: int = declare(44_000, "token budget per corpus and model", Affects.TEXT, metavar="N")
    correlation_tokens: int = declare(
        20_000, "tokens at which seeds are compared, spread over the corpus", Affects.COMPARISON, metavar="N"
    )
    correlation_site: str = declare(
        "post",
        "where neurons of seeds are compared: post (after the activation function, as in the paper) or pre",
        Affects.COMPARISON,
        choices=("post", "pre"),
        metavar="SITE",
    )
    memory: int = declare(
        8,
        "memory for comparing seeds, in GiB per process, beside the models; above it, products are computed in blocks",
        Affects.ROUNDING,
        metavar="GIB",
    )
    context: int = declare(
        0,
        f"context length in tokens, the first of them BOS (default: the model's, at most {DEFAULT_CONTEXT})",
        Affects.TEXT,
        metavar="N",
    )
    batch: int = declare(
        0,
        f"tokens per forward pass (default: {CPU_POSITIONS} on a CPU, where they stay in its cache, else "
        f"{GPU_POSITIONS})",
        Affects.ROUNDING,
        metavar="N",
    )
    text_field: str = declare("text", "the field of a row that holds the text", Affects.TEXT, metavar="FIELD")
    device: str = declare(
        "auto",
        "where models run: auto, cpu, cuda, cuda:1; balanced or sequential: spread over all GPUs by accelerate",
        Affects.ROUNDING,
        metavar="DEVICE",
    )
    dtype: str = declare(
        "float32",
        "precision of the forward pass: float32, bfloat16, float16 or float64",
        Affects.ACTIVATIONS,
        choices=("float32", "bfloat16", "float16", "float64"),
        metavar="DTYPE",
    )
    cache: str = declare(
        "",
        "folder for finished statistics, which later runs on this machine reuse (default: below pytest's own cache, "
        "which --cache-clear empties)",
        metavar="FOLDER",
    )
    no_cache: bool = declare(False, "compute everything again, and store nothing")
    cache_size: int = declare(
        8, "GiB of finished statistics on disk, beyond which the least recently used are evicted", metavar="GIB"
    )
    threads: int = declare(0, "CPU threads per process (default: the cores divided among the workers)", metavar="N")

    @property
    def models(self) -> tuple[str, ...]:
        """The models under test as they were typed, or the default ones."""
        return self.model or tuple(DEFAULT_MODELS)

    def bound(self, locked: Mapping[str, Any]) -> tuple[Settings, tuple[str, ...]]:
        """The settings with locked values in force, and a sentence for each value of the user's that gave way."""
        plain: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in locked.items()
        }
        asked, default = asdict(self), asdict(type(self)())
        overruled = tuple(
            f"--unineuron-{name.replace('_', '-')}={_shown(asked[name])} is overruled by the lock: {_shown(value)}"
            for name, value in plain.items()
            if asked[name] not in (value, default[name])
        )
        return replace(self, **plain), overruled

    def affecting(self, *parts: Affects) -> dict[str, Any]:
        """The settings that affect these parts of a result, as plain JSON data."""
        values = self.as_dict()
        return {option.setting: values[option.setting] for option in options_of(type(self)) if option.affects in parts}

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


def options_of(settings: type[Settings]) -> tuple[Option, ...]:
    """The options that a class of settings declares, in order."""
    return tuple(Option(each.name, default=each.default, **each.metadata["option"]) for each in fields(settings))


OPTIONS = options_of(Settings)


def settings_affecting(*parts: Affects) -> list[str]:
    """The names of the settings that affect these parts of a result."""
    return [option.setting for option in OPTIONS if option.affects in parts]


def binding_settings() -> list[str]:
    """The names of the settings that two comparable runs share, and that a lock decides."""
    return settings_affecting(*(set(Affects) - {Affects.NOTHING, Affects.ROUNDING}))


def _shown(value: Any) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)
