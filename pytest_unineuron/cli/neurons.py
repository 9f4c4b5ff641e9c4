"""``pytest-unineuron neurons``: the most remarkable neurons of a model, with their strongest tokens."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_unineuron.cli.check import declared
from pytest_unineuron.cli.own_options import own_options
from pytest_unineuron.errors import NotApplicable, OptionError
from pytest_unineuron.system import process
from pytest_unineuron.system.paths import write_atomically

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    import pandas as pd

    from pytest_unineuron.study.neuron import Neuron
    from pytest_unineuron.study.study import Study

STATISTICS = "kurtosis skew density mean variance bias read_norm write_norm cosine".split()
EXCESS = "excess"
"""The excess correlation ϱ, for which further seeds are read."""
VOCABULARY = "vocabulary"
"""The kurtosis of the vocabulary composition: high for a neuron that raises or lowers a few tokens."""
SHOWN_TOKENS, SHOWN_CONTEXTS, CONTEXT = 5, 2, 28
"""The number of promoted and suppressed tokens below a row of the table, and of strongest tokens; and the number of
characters of context on either side of one, so that 80 columns are enough."""

OPTIONS_OF_RUN = ("corpus", "seed", "tokens", "device", "cache")
"""The options of a run that this command has under their own names."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `pytest-unineuron neurons`."""
    command.add_argument("model", metavar="MODEL", help="hub id[@revision], a folder, nano:NAME or untrained:MODEL")
    text = f"what to sort by: {', '.join((EXCESS, VOCABULARY, *STATISTICS))}, or a column of an extension"
    command.add_argument("--by", default="kurtosis", metavar="COLUMN", help=f"{text} (default: kurtosis)")
    command.add_argument("--lowest", action="store_true", help="the lowest first, instead of the highest")
    command.add_argument("--layer", type=int, metavar="N", help="neurons of this layer alone")
    command.add_argument("--top", type=int, default=20, metavar="N", help="how many neurons (default: 20)")
    command.add_argument("--corpus", default="prose", metavar="CORPUS", help="the text that is read (default: prose)")
    command.add_argument("--seed", action="append", default=[], metavar="MODEL", help="a further seed; repeatable")
    command.add_argument("--tokens", metavar="N", help="token budget")
    command.add_argument("--device", metavar="DEVICE", help="where the model runs")
    text = "a file or module that declares statistics, corpora or families of seeds; repeatable"
    command.add_argument("--extension", action="append", default=[], metavar="FILE", help=text)
    text = "folder of finished results (default: pytest's cache in this folder, if there is one)"
    command.add_argument("--cache", type=Path, metavar="FOLDER", help=text)
    for form, what in FORMS.items():
        command.add_argument(f"--{form}", type=Path, metavar="FILE", help=f"write {what[1]} instead of printing")


@own_options(OPTIONS_OF_RUN)
def print_neurons(typed: argparse.Namespace) -> int:
    """Print the table that was asked for, or write it. Raises UnineuronError."""
    if typed.top < 1:
        raise OptionError(f"--top={typed.top}: give a whole number of at least 1")
    process.configure()  # before torch is imported
    from pytest_unineuron.study.study import open as open_study

    options = {name: value for name in ("tokens", "device") if (value := getattr(typed, name)) is not None}
    extensions = [each for text in typed.extension for each in declared(text)]
    study = open_study(typed.model, seeds=typed.seed, cache=typed.cache, extensions=extensions, **options)
    table = _selected(study, typed)
    found = study.cards(list(table.index), typed.corpus, histograms=typed.html is not None)
    rows = [row.drop(["layer", "index"]).to_dict() for _, row in table.iterrows()]
    cards = [replace(card, statistics=row) for card, row in zip(found, rows, strict=True)]
    wanted = [(form, path) for form in FORMS if (path := getattr(typed, form)) is not None]
    if not wanted:
        print(_printed(table, cards, typed.by))
    for form, path in wanted:
        _write(form, path, FORMS[form][0](f"{typed.model}, by {typed.by}", table, cards))
    return 0


def _selected(study: Study, typed: argparse.Namespace) -> pd.DataFrame:
    """The rows of the neurons that were asked for. Raises OptionError if there are none."""
    table = study.neurons(typed.corpus)
    if typed.by == EXCESS:
        table[EXCESS] = study.universality(typed.corpus)[EXCESS]
    by_vocabulary = typed.by == VOCABULARY
    # Without an unembedding, neurons have no role in the logits.
    with nullcontext() if by_vocabulary else suppress(NotApplicable):
        shown = [VOCABULARY, "role"] if by_vocabulary else ["role"]
        table[shown] = study.roles(typed.corpus)[shown]
    columns = [name for name in (EXCESS, VOCABULARY, *table) if name not in ("layer", "index", "role")]
    if typed.by not in columns:
        raise OptionError(f"--by={typed.by}: no such column; choose from {', '.join(dict.fromkeys(columns))}")
    layers = sorted(set(table["layer"]))
    if typed.layer is not None:
        table = table[table["layer"] == typed.layer]
    if table.empty:
        raise OptionError(f"--layer={typed.layer}: {typed.model} has neurons in layers {layers[0]} to {layers[-1]}")
    if table[typed.by].isna().all():
        raise OptionError(f"--by={typed.by}: {typed.model} has none; sort by another one: {', '.join(STATISTICS)}")
    return table.sort_values(typed.by, ascending=typed.lowest, kind="stable").head(typed.top)


def _with_tokens(table: pd.DataFrame, cards: list[Neuron]) -> pd.DataFrame:
    """The table with the tokens of each neuron as lists."""
    strongest = [[token for _, _, token, _ in card.strongest] for card in cards]
    named = {kind: [card.words(kind) for card in cards] for kind in ("promotes", "suppresses")}
    return table.assign(strongest=strongest, **named)


def _printed(table: pd.DataFrame, cards: list[Neuron], by: str) -> str:
    """The table for a terminal: place, statistics and role, and under each row the first tokens of each kind."""
    others = [name for name in ("kurtosis", "density", "role") if name in table and name != by]
    shown = table[["layer", "index", by, *others]].to_string(index=False, float_format=lambda value: f"{value:.3g}")
    header, *rows = shown.splitlines()
    return "\n".join([header, *(line for row, card in zip(rows, cards, strict=True) for line in (row, *_below(card)))])


def _below(card: Neuron) -> Iterator[str]:
    """The strongest tokens of a neuron in their context, and those that it promotes and suppresses."""
    for value, before, token, after in card.strongest[:SHOWN_CONTEXTS]:
        context = f"{_plain(before)[-CONTEXT:]}[{_plain(token)}]{_plain(after)[:CONTEXT]}"
        yield f"{value:>12}  {context}"
    for kind in ("promotes", "suppresses") if card.effects is not None else ():
        yield f"{kind:>12}  {' '.join(map(repr, dict.fromkeys(card.words(kind)[:SHOWN_TOKENS])))}"


def _plain(text: str) -> str:
    """The text on one line, with characters that do not print as escapes."""
    return repr(text)[1:-1]


def _csv(_: str, table: pd.DataFrame, cards: list[Neuron]) -> bytes:
    return str(_with_tokens(table, cards).to_csv()).encode("utf-8", "backslashreplace")


def _json(_: str, table: pd.DataFrame, cards: list[Neuron]) -> bytes:
    whole = _with_tokens(table, cards).assign(contexts=[[list(row) for row in card.strongest] for card in cards])
    return str(whole.reset_index().to_json(orient="records", indent=2, force_ascii=False)).encode()


def _parquet(_: str, table: pd.DataFrame, cards: list[Neuron]) -> bytes:
    try:
        found: bytes = _with_tokens(table, cards).to_parquet()
    except ImportError:
        raise OptionError("--parquet: needs a package that writes it: pip install pyarrow") from None
    return found


def _html(title: str, _: pd.DataFrame, cards: list[Neuron]) -> bytes:
    from pytest_unineuron.study.neuron import render_cards

    return render_cards(title, cards).encode("utf-8", "backslashreplace")


FORMS: dict[str, tuple[Callable[[str, Any, list[Any]], bytes], str]] = {
    "csv": (_csv, "the table as CSV"),
    "parquet": (_parquet, "the table as Parquet"),
    "json": (_json, "the table as JSON, with the context of every token"),
    "html": (_html, "a page of cards"),
}
"""The files that can be written: what makes the bytes of each, and its name."""


def _write(form: str, path: Path, content: bytes) -> None:
    try:
        write_atomically(path, content)
    except OSError as error:
        raise OptionError(f"--{form} {path}: cannot be written ({error.strerror}); name another file") from None
    print(f"Written: {path}")
