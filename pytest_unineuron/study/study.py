"""One model to look at: its neurons, how well other seeds match them, and their tokens, as tables of pandas."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from pytest_unineuron.errors import NotApplicable, OptionError, did_you_mean
from pytest_unineuron.lab.arm import Arm
from pytest_unineuron.lab.lab import Lab
from pytest_unineuron.models.loading.source import parse_source
from pytest_unineuron.options import sources
from pytest_unineuron.options.settings import OPTIONS, Affects, Settings
from pytest_unineuron.roles.null_space import null_space_fractions
from pytest_unineuron.roles.orientation import orientation
from pytest_unineuron.roles.token_frequency import frequency_correlations
from pytest_unineuron.statistics import POST, PRE, STATISTICS
from pytest_unineuron.study.extensions import Registry
from pytest_unineuron.study.neuron import Neuron
from pytest_unineuron.system import process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from pytest_unineuron.lab.neurons import Units
    from pytest_unineuron.lab.weights import Weights

ACTIVATION_COLUMNS = ("mean", "variance", "skew", "kurtosis", "density")
"""Statistics of the pre-activation of a neuron over the tokens of a text."""
WEIGHT_COLUMNS = ("bias", "read_norm", "write_norm", "cosine")
"""Statistics of the weights of a neuron, norms folded in."""
PYTEST_CACHE = Path(".pytest_cache")
"""The folder of pytest's cache in the folder where it was started."""
N_TOKENS = 10
"""The number of tokens that are shown of a neuron."""


def open(
    model: str,
    *,
    seeds: Sequence[str] = (),
    cache: str | Path | None = None,
    extensions: Sequence[object] = (),
    **settings: Any,
) -> Study:
    """Return the study of a model: hub id[@revision], folder, ``nano:NAME`` or ``untrained:MODEL``.

    ``seeds`` are further training seeds of it (default: those that the registry knows). ``cache`` is the folder of
    finished results, by default that of pytest runs in the present folder, if there is one. ``settings`` are options
    such as ``tokens=100_000`` or ``device="cuda"``, named as in ``pytest --help``. Nothing is loaded yet. Raises
    ModelError for a model that does not exist, and OptionError for an option that does not.

    What installed packages declare with ``pytest_unineuron.extend`` can be used for the rest of the process, as can
    that of ``extensions``: modules, functions or classes. Their statistics are columns of ``Study.neurons``.
    """
    registry = Registry()
    registry.add_installed()
    for each in extensions:
        registry.add(each)
    known = [option.setting for option in OPTIONS if option.affects not in (Affects.NOTHING, Affects.VERDICT)]
    for name in settings:
        if name not in known:
            raise OptionError(f"{name}: there is no such option of a study{did_you_mean(name, known)}")
    values = {"model": [model], "seed": list(seeds), **settings}
    given = {option.key: values[option.setting] for option in OPTIONS if option.setting in values}
    return Study(sources.read(given.get, lambda _: None, {}), cache_folder(cache))


def cache_folder(named: str | Path | None) -> Path | None:
    """Return the folder of finished results: the one that was named, else that of pytest runs here if there is one."""
    if named is not None:
        return Path(named).expanduser()
    return PYTEST_CACHE / "d" / "unineuron" if PYTEST_CACHE.is_dir() else None


class Study:
    """One model, and what can be looked at of it. Results are measured when first asked for, and stored in ``folder``.

    The first of them loads the model and sets what a run of trials sets in its process: the number of torch threads,
    if it was given, the allocator, and how much transformers logs. A terminal and a notebook show a progress bar.
    """

    def __init__(self, settings: Settings, folder: Path | None = None) -> None:
        self._settings, self._folder = settings, folder
        self._source = parse_source(settings.model[0])
        self._arm = Arm(self._source.label)
        self._neurons: dict[str, pd.DataFrame] = {}

    def __repr__(self) -> str:
        return f"unineuron.open({self._source.spec!r})"

    @cached_property
    def lab(self) -> Lab:
        """The lab that measures the model, for what the tables do not have."""
        process.configure(self._settings.threads)
        models = {self._source.label: self._source}
        return Lab(self._settings, models, {}, folder=self._folder, progress=_bar)

    def neurons(self, corpus: str = "prose") -> pd.DataFrame:
        """Return one row per neuron, indexed by its number in the model.

        ``layer``, and ``index`` within the layer; over the tokens of the corpus, of the pre-activation: ``mean``,
        ``variance``, ``skew``, ``kurtosis`` (Pearson's, a Normal has 3) and ``density`` (share above zero); of the
        folded weights: ``bias``, ``read_norm``, ``write_norm`` and ``cosine`` of both, nan where the model has none;
        and what statistics of extensions have of every neuron, after ``post_`` if it is of the post-activation. Raises
        CorpusError for a corpus that does not exist.
        """
        if corpus not in self._neurons:
            measured = self.lab.neurons(self._arm, corpus)
            table = self._places(self._arm.model)
            for name in ACTIVATION_COLUMNS:
                table[name] = getattr(measured.pre, name)
            for name in WEIGHT_COLUMNS:
                table[name] = self._weight(name)
            for site, prefix in ((PRE, ""), (POST, f"{POST}_")):
                for name, values in _added_columns(getattr(measured, site), site, len(table)):
                    table[prefix + name] = values
            self._neurons[corpus] = table
        return self._neurons[corpus].copy()

    def universality(self, corpus: str = "prose", *, seeds: Sequence[str] = ()) -> pd.DataFrame:
        """Return one row per neuron: how well it is matched in further seeds, beyond a random basis.

        ``layer`` and ``index``; ``excess``, the excess correlation ϱ (Gurnee et al. 2024, equation 3) on held-out text,
        mean over seeds; ``universal``, whether it is above the threshold; and for each seed the layer and the index of
        the best partner (−1 for none) and ρ with it. ``seeds`` replace those of the study. Raises NotApplicable if no
        further seeds are known, and ModelError for one that cannot be compared.
        """
        if seeds and tuple(seeds) != self._settings.seed:
            other = Study(replace(self._settings, seed=tuple(seeds)), self._folder)
            return other.universality(corpus)
        found = self.lab.universality(self._arm, corpus)
        matched, table = found.neurons, self._places(self._arm.model)
        table["excess"], table["universal"] = matched.excess, matched.universal
        for number, seed in enumerate(found.seeds):
            partner, places = matched.partner[number], self._places(seed)
            for name in ("layer", "index"):
                table[f"{seed} {name}"] = np.where(partner >= 0, places[name].to_numpy()[partner], -1)
            table[f"{seed} correlation"] = matched.correlation[number]
        return table

    def roles(self, corpus: str = "prose") -> pd.DataFrame:
        """Return one row per neuron: what it does to the logits, from the weights.

        ``layer`` and ``index``; of its vocabulary composition, the cosines of what it writes with the tokens' rows of
        the unembedding (Gurnee et al. 2024, section 5.1), the kurtosis ``vocabulary``, ``vocabulary_skew`` and
        ``vocabulary_variance``; ``vocabulary_rank``, the share of random directions of smaller kurtosis;
        ``null_space``, the length of what it writes where tokens hardly read, over its whole length (Stolfo et al.
        2024); ``frequency``, the correlation of the logits it adds with the log frequency of tokens in the corpus; and
        ``role``: "prediction" or "suppression" for a neuron that raises or lowers a few tokens (kurtosis above 10),
        else "partition" for a large variance, else empty. The sign of a gated neuron is that of its activation on a
        small part of the corpus. A number is nan for a neuron that writes elsewhere. Raises NotApplicable for a model
        without an unembedding behind its last norm.
        """
        weights, found = self._weights, self._weights.composition
        sign = self.lab.runs(self._arm, corpus).role(orientation)
        table = self._places(self._arm.model)
        table["vocabulary"] = found.kurtosis
        table["vocabulary_skew"] = sign * found.skew
        table["vocabulary_variance"] = found.variance
        table["vocabulary_rank"] = weights.composition_rank
        table["null_space"] = weights.role(null_space_fractions)
        counts = self.lab.token_counts(self._arm.model, corpus)
        table["frequency"] = sign * weights.role(frequency_correlations, counts)
        named = {"prediction": found.prediction(sign), "suppression": found.suppression(sign)}
        table["role"] = np.select([*named.values(), found.partition], [*named, "partition"], default="")
        return table

    def top_tokens(self, layer: int, neuron: int, corpus: str = "prose", *, context: int = 12) -> pd.DataFrame:
        """Return the tokens at which a neuron is strongest after the activation function, strongest first.

        ``activation``, ``token``, and ``before`` and ``after``: up to so many tokens of ``context`` on either side
        within the block that was read. ``neuron`` is the index within the layer. Raises OptionError if there is no such
        neuron.
        """
        unit, extremes = self._number(layer, neuron), self.lab.neurons(self._arm, corpus).extremes()
        values, tokens = extremes.values[:, unit].tolist(), extremes.tokens[:, unit].tolist()
        rows = [
            (value, *self._in_context(corpus, t, context)) for value, t in zip(values, tokens, strict=True) if t >= 0
        ]
        return pd.DataFrame(rows, columns=["activation", "token", "before", "after"])

    def token_effects(self, layer: int, neuron: int, n: int = N_TOKENS) -> pd.DataFrame:
        """Return the ``n`` tokens whose logits a neuron raises most, and the ``n`` whose logits it lowers most.

        ``promotes`` and ``suppresses``, with ``promotes_by`` and ``suppresses_by``: the effect of one unit of
        activation on the logit, norms folded in. Raises OptionError if there is no such neuron, and NotApplicable for a
        model without an unembedding.
        """
        effects = self._weights.logit_effects(self._number(layer, neuron))
        order = np.argsort(effects, kind="stable")
        up, down = order[::-1][:n], order[:n]
        columns = {"promotes": self._words(up), "promotes_by": effects[up]}
        return pd.DataFrame({**columns, "suppresses": self._words(down), "suppresses_by": effects[down]})

    def histogram(self, layer: int, neuron: int, corpus: str = "prose") -> pd.DataFrame:
        """Return how many tokens of a corpus are in each range of a neuron's pre-activation.

        ``low``, ``high`` and ``tokens``, of ranges of one width; attention sinks are left out. This is a forward pass.
        Raises OptionError if there is no such neuron.
        """
        return self._histograms([self._number(layer, neuron)], corpus)[0]

    def neuron(self, layer: int, neuron: int, corpus: str = "prose") -> Neuron:
        """Return everything about one neuron, which a notebook shows as a card. Raises OptionError if there is none."""
        return self.cards([self._number(layer, neuron)], corpus)[0]

    def cards(self, neurons: Sequence[int], corpus: str = "prose", *, histograms: bool = True) -> list[Neuron]:
        """Return everything about some neurons, named as in the index of ``neurons``; histograms take one pass."""
        rows = self.neurons(corpus)
        found = self._histograms(neurons, corpus) if histograms else [None] * len(neurons)
        return [self._card(rows.loc[unit], corpus, of_unit) for unit, of_unit in zip(neurons, found, strict=True)]

    def _card(self, row: pd.Series[Any], corpus: str, histogram: pd.DataFrame | None) -> Neuron:
        layer, index = int(row["layer"]), int(row["index"])
        try:
            effects: pd.DataFrame | None = self.token_effects(layer, index)
        except NotApplicable:
            effects = None
        statistics, tokens = row.drop(["layer", "index"]).to_dict(), self.top_tokens(layer, index, corpus)
        return Neuron(self._source.spec, corpus, layer, index, statistics, tokens, effects, histogram)

    def _histograms(self, units: Sequence[int], corpus: str) -> list[pd.DataFrame]:
        edges, counts = self.lab.histograms(self._arm, corpus, [int(unit) for unit in units])
        columns = zip(edges[:, :-1].numpy(), edges[:, 1:].numpy(), counts.numpy(), strict=True)
        return [pd.DataFrame({"low": low, "high": high, "tokens": tokens}) for low, high, tokens in columns]

    # -- names and places ------------------------------------------------------------------------------------

    @cached_property
    def _weights(self) -> Weights:
        return self.lab.weights(self._arm)

    def _weight(self, name: str) -> NDArray[np.float64] | float:
        try:
            values: NDArray[np.float64] = getattr(self._weights, name)
        except NotApplicable:
            return float("nan")
        return values

    def _places(self, model: str) -> pd.DataFrame:
        """The layer and the index within it of each neuron of a model."""
        table = pd.DataFrame({"layer": self.lab.layer(model)})
        table["index"] = table.groupby("layer").cumcount()
        return table.rename_axis("neuron")

    def _number(self, layer: int, index: int) -> int:
        """The number in the model of a neuron. Raises OptionError if there is none."""
        places = self._places(self._arm.model)
        found = places.index[(places["layer"] == layer) & (places["index"] == index)]
        if not len(found):
            sizes = places.groupby("layer").size()
            have = f"layers {sizes.index.min()} to {sizes.index.max()} of {sizes.min()} neurons"
            raise OptionError(f"{self._source.spec} has no neuron {index} in layer {layer}; it has {have}")
        return int(found[0])

    def _in_context(self, corpus: str, token: int, context: int) -> tuple[str, str, str]:
        """A token of the text as the model read it, with those before and after it."""
        block, place = self.lab.blocks(self._arm.model, corpus).place_of(token)
        ids, decode = block.ids, self._tokenizer.decode
        before, after = ids[max(place - context, 0) : place], ids[place + 1 : place + 1 + context]
        return decode([ids[place]]), decode(before), decode(after)

    def _words(self, ids: NDArray[np.int64]) -> list[str]:
        return [self._tokenizer.decode([int(each)]) for each in ids]

    @property
    def _tokenizer(self) -> Any:
        return self.lab.loaded(self._arm).tokenizer


def _added_columns(units: Units, site: str, neurons: int) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """The properties that statistics of extensions have of every neuron at a site, by name."""
    for statistic in STATISTICS.files:
        if site in STATISTICS[statistic][1]:
            total = units.total(statistic)
            for name in (name for name, value in vars(type(total)).items() if isinstance(value, property)):
                values = getattr(total, name)
                if isinstance(values, torch.Tensor) and values.shape == (neurons,):
                    yield name, values.numpy()


def _bar(title: str, *, part: bool = False) -> Callable[[Sequence[Any]], Iterable[Any]]:
    """A progress bar of tqdm over batches, of a whole text or a part; none where the output is no terminal."""
    from tqdm.auto import tqdm

    return lambda batches: tqdm(batches, desc=title, disable=None, leave=False)
