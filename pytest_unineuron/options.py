"""Flags, environment and ini values become one frozen Settings, or an OptionError that says what to type.

Precedence: a trial's marker, then the command line, then the environment, then the ini file, then the default.
"""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from pytest_unineuron.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pytest


@dataclass(frozen=True)
class Option:
    """One option in all its forms: ``--unineuron-NAME``, ``UNINEURON_NAME`` and the ini key ``unineuron_name``.

    ``kind`` is str, int, bool or list (repeatable on the command line, a list of lines in the ini file, and in
    the environment parts between ``separator``s).
    """

    name: str
    kind: type
    default: Any
    help: str
    choices: tuple[str, ...] = ()
    metavar: str = "TEXT"
    separator: str = ","

    @property
    def flag(self) -> str:
        """What is typed on the command line."""
        return f"--unineuron-{self.name}"

    @property
    def key(self) -> str:
        """The ini key, which is also where argparse keeps the flag's value."""
        return f"unineuron_{self.name.replace('-', '_')}"

    @property
    def variable(self) -> str:
        """The environment variable."""
        return self.key.upper()


OPTIONS = (
    Option(
        "model",
        list,
        ("nano:neox-a", "nano:gpt2-a"),
        "a model under test: hub id[@revision], folder, nano:NAME or untrained:MODEL; repeatable",
        metavar="MODEL",
    ),
    Option(
        "seed",
        list,
        (),
        "a further training seed of the model, for trials that compare seeds; repeatable "
        "(default: what the registry knows)",
        metavar="MODEL",
    ),
    Option(
        "corpus",
        list,
        ("news", "code", "multilingual"),
        "a corpus of new data: a bundled name, stdlib, pydoc, "
        "a .txt or .jsonl file, a folder, or a data set's name; repeatable",
        metavar="CORPUS",
    ),
    Option("reference", str, "prose", "the corpus that new data is compared with", metavar="CORPUS"),
    Option("controls", list, ("default",), "the control arms: default, none, or names; repeatable", metavar="NAME"),
    Option("control-draws", int, 1, "independent draws of each control", metavar="N"),
    Option(
        "policy",
        str,
        "primary",
        "how trials make a criterion: primary, all, majority or any",
        choices=("primary", "all", "majority", "any"),
        metavar="POLICY",
    ),
    Option("holm", bool, False, "let a trial pass only after Holm's correction over all trials of its criterion"),
    Option("accept-vacuous", bool, False, "let trials count that a control passes too, as the notebook did"),
    Option(
        "fail-on",
        str,
        "trial",
        "what makes the run fail: trial, criterion, regression or never (default: trial; with a baseline, regression)",
        choices=("trial", "criterion", "regression", "never"),
        metavar="WHAT",
    ),
    Option("baseline", str, "", "an accepted report (pytest-unineuron accept) to compare with", metavar="FILE"),
    Option(
        "tolerate",
        list,
        ("not-run",),
        "trials of the baseline that may be without a result: missing, "
        "incomparable, not-run, or none of these; repeatable",
        choices=("missing", "incomparable", "not-run", "none"),
        metavar="STATE",
    ),
    Option(
        "across",
        list,
        (),
        "what may differ from the baseline and still be compared: weights, corpus; repeatable",
        choices=("weights", "corpus"),
        metavar="WHAT",
    ),
    Option(
        "waive",
        list,
        (),
        "a regression that is accepted for now: 'TRIAL[CORPUS] on MODEL until YYYY-MM-DD: REASON'; repeatable",
        metavar="WAIVER",
        separator="\n",
    ),
    Option("lock", str, "", "hold the run to what was locked before it (pytest-unineuron lock)", metavar="FILE"),
    Option(
        "write-lock", str, "", "run control arms only, and lock what they were run with into this file", metavar="FILE"
    ),
    Option(
        "resume",
        str,
        "auto",
        "take results from an attempt that was cut short, where nothing they rest on has changed: auto or never",
        choices=("auto", "never"),
        metavar="WHEN",
    ),
    Option("out", str, "evaluation", "folder for the summary and the reports", metavar="FOLDER"),
    Option(
        "findings", str, "", "a checkout of the paper's repository, to report its published neurons", metavar="FOLDER"
    ),
    Option(
        "neurons",
        str,
        "",
        "take for neurons what projections of this path read, such as 'encoder.layers.*.fc2', instead of finding them",
        metavar="PATTERN",
    ),
    Option("tokens", int, 44_000, "token budget per corpus and model", metavar="N"),
    Option(
        "correlation-tokens", int, 20_000, "tokens at which seeds are compared, spread over the corpus", metavar="N"
    ),
    Option(
        "correlation-site",
        str,
        "post",
        "where neurons of seeds are compared: post (after the activation function, as in the paper) or pre",
        choices=("post", "pre"),
        metavar="SITE",
    ),
    Option(
        "memory",
        int,
        8,
        "GiB that comparing seeds may take beside the models, in each process; past it, products are made in blocks",
        metavar="GIB",
    ),
    Option(
        "context",
        int,
        0,
        "context length in tokens, the first of them BOS (default: the model's, at most 512)",
        metavar="N",
    ),
    Option(
        "batch",
        int,
        0,
        "tokens per forward pass (default: 1024 on a CPU, where they stay in its cache, else 32768)",
        metavar="N",
    ),
    Option(
        "text-field", str, "text", "the field of a .jsonl line or data set row that holds the text", metavar="FIELD"
    ),
    Option(
        "device",
        str,
        "auto",
        "where models run: auto, cpu, cuda, cuda:1; balanced or sequential: spread over all GPUs by accelerate",
        metavar="DEVICE",
    ),
    Option(
        "dtype",
        str,
        "float32",
        "precision of the forward pass: float32, bfloat16, float16 or float64",
        choices=("float32", "bfloat16", "float16", "float64"),
        metavar="DTYPE",
    ),
    Option(
        "cache",
        str,
        "",
        "folder for finished statistics, so that nothing is swept twice on a machine (default: "
        "below pytest's own cache, which --cache-clear empties)",
        metavar="FOLDER",
    ),
    Option("no-cache", bool, False, "measure everything anew, and keep nothing"),
    Option(
        "cache-size",
        int,
        8,
        "GiB that finished statistics may take on disk: what was not used for longest goes",
        metavar="GIB",
    ),
    Option("threads", int, 0, "CPU threads per process (default: the cores divided among the workers)", metavar="N"),
)


MEASURING = (
    "neurons",
    "tokens",
    "correlation_tokens",
    "correlation_site",
    "context",
    "text_field",
    "dtype",
    "reference",
)
"""Settings that a measurement depends on."""
JUDGING = ("controls", "control_draws", "policy", "holm", "accept_vacuous")
"""Settings that a verdict depends on."""


@dataclass(frozen=True)
class Settings:
    """What a run was asked to do. Built once, passed as a value, stored with the results."""

    model: tuple[str, ...]
    seed: tuple[str, ...]
    corpus: tuple[str, ...]
    reference: str
    controls: tuple[str, ...]
    control_draws: int
    policy: str
    holm: bool
    accept_vacuous: bool
    fail_on: str
    baseline: str
    tolerate: tuple[str, ...]
    across: tuple[str, ...]
    waive: tuple[str, ...]
    lock: str
    write_lock: str
    resume: str
    out: str
    findings: str
    neurons: str
    tokens: int
    correlation_tokens: int
    correlation_site: str
    memory: int
    context: int
    batch: int
    text_field: str
    device: str
    dtype: str
    cache: str
    no_cache: bool
    cache_size: int
    threads: int

    def bound(self, locked: Mapping[str, Any]) -> tuple[Settings, tuple[str, ...]]:
        """The settings with what is locked in force, and a sentence for each value of the user's that gave way."""
        plain: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in locked.items()
        }
        asked, unasked = asdict(self), asdict(defaults())
        overruled = tuple(
            f"--unineuron-{name.replace('_', '-')}={_shown(asked[name])} gives way to the lock: {_shown(value)}"
            for name, value in plain.items()
            if asked[name] not in (value, unasked[name])
        )
        return replace(self, **plain), overruled

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


def register(parser: pytest.Parser) -> None:
    """Add every option to pytest's command line and ini keys. Nothing else happens here."""
    group = parser.getgroup("unineuron", "do universal neurons generalize? (trials marked gt1, gt2, gt3)")
    for option in OPTIONS:
        default = " ".join(option.default) if option.kind is list else option.default
        text = option.help + ("" if "default" in option.help or not default else f" (default: {default})")
        shape: dict[str, Any] = {"action": "store_true"} if option.kind is bool else {"metavar": option.metavar}
        if option.kind is list:
            shape["action"] = "append"
        # Types and choices are checked in read(), which sees all four sources and speaks with one voice.
        group.addoption(option.flag, dest=option.key, default=None, help=text, **shape)
        kinds: dict[type, Any] = {list: "linelist", bool: "bool", int: "string", str: "string"}
        parser.addini(option.key, text, type=kinds[option.kind], default=None)


def read(
    given: Callable[[str], Any], ini: Callable[[str], Any], environment: Mapping[str, str] = os.environ
) -> Settings:
    """The settings of a run from the command line (``given``), the environment and the ini file, in this order.

    Raises OptionError naming the option, what was found and what it takes.
    """
    values: dict[str, Any] = {}
    unsaid = set()
    for option in OPTIONS:
        found = given(option.key)
        where = option.flag
        if found is None and option.variable in environment:
            found, where = environment[option.variable], option.variable
            if option.kind is list:
                found = [part.strip() for part in found.split(option.separator) if part.strip()]
        if found is None:
            found, where = ini(option.key), f"ini key {option.key}"
        if found is None or found in ([], ()):
            found = option.default
            unsaid.add(option.name)
        values[option.key.removeprefix("unineuron_")] = _convert(option, found, where)
    return Settings(**_together(values, unsaid))


def checked(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same values, if each is one that its option can have. Raises OptionError naming the first that is not."""
    for option in OPTIONS:
        name = option.key.removeprefix("unineuron_")
        if name in values:
            value = values[name]
            same = tuple(value) if isinstance(value, list) else value
            if type(value) is not option.kind or _convert(option, value, name) != same:
                raise OptionError(f"{option.flag} cannot be {value!r}")
    return dict(values)


def _together(values: dict[str, Any], unsaid: set[str]) -> dict[str, Any]:
    """The values of options that depend on one another. Raises OptionError for those that contradict each other."""
    if values["baseline"] and "fail-on" in unsaid:
        values["fail_on"] = "regression"
    if values["fail_on"] == "regression" and not values["baseline"]:
        raise OptionError("--unineuron-fail-on=regression: compare with what? add --unineuron-baseline=FILE")
    if values["lock"] and values["write_lock"]:
        raise OptionError("--unineuron-lock and --unineuron-write-lock: write a lock first, then hold a run to it")
    if "none" in values["tolerate"] and len(values["tolerate"]) > 1:
        raise OptionError("--unineuron-tolerate: none stands alone")
    return values


def _convert(option: Option, found: Any, where: str) -> Any:
    if option.kind is list:
        if not all(str(item).strip() for item in found):
            raise OptionError(f"{where}: is empty; leave it out for {', '.join(option.default) or 'the default'}")
        for item in found if option.choices else ():
            _check_choice(option, str(item), where)
        return tuple(dict.fromkeys(str(item) for item in found))
    if option.kind is bool:
        return _boolean(found, where)
    if option.kind is int:
        return _integer(found, where, minimum=1 if option.default else 0)
    text = str(found)
    if option.choices:
        _check_choice(option, text, where)
    if not text and (option.default or where == option.flag):
        raise OptionError(f"{where}: is empty; leave it out for {option.default or 'none'!r}")
    return text


def _check_choice(option: Option, text: str, where: str) -> None:
    if text not in option.choices:
        raise OptionError(f"{where}={text}: choose {', '.join(option.choices[:-1])} or {option.choices[-1]}")


def _boolean(found: Any, where: str) -> bool:
    words = {
        "1": True,
        "true": True,
        "yes": True,
        "on": True,
        "0": False,
        "false": False,
        "no": False,
        "off": False,
        "": False,
    }
    try:
        return found if isinstance(found, bool) else words[str(found).lower()]
    except KeyError:
        raise OptionError(f"{where}={found}: say true or false") from None


def _integer(found: Any, where: str, minimum: int) -> int:
    try:
        value = float(found)  # so that 1e6 is a number of tokens
        whole = int(value) if math.isfinite(value) and value == int(value) else None
    except (TypeError, ValueError):
        whole = None
    if whole is None or whole < minimum:
        raise OptionError(f"{where}={found}: give a whole number of at least {minimum}")
    return whole


def _shown(value: Any) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)


def defaults() -> Settings:
    """The settings of a run that asks for nothing."""
    return Settings(**{option.key.removeprefix("unineuron_"): option.default for option in OPTIONS})
