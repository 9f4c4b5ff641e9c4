"""The lab, from which trials get models, corpora and finished results."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pytest_unineuron import controls
from pytest_unineuron.activations.histograms import unit_histograms
from pytest_unineuron.cache.digests import Digests
from pytest_unineuron.corpora import number_words, public_texts
from pytest_unineuron.distributed.single_process import SINGLE_PROCESS, ProcessGroup
from pytest_unineuron.lab.arm import Arm
from pytest_unineuron.lab.attention import AttentionResults
from pytest_unineuron.lab.comparisons import Comparisons
from pytest_unineuron.lab.distributions import Distributions
from pytest_unineuron.lab.keys import Keys
from pytest_unineuron.lab.models import Models
from pytest_unineuron.lab.neurons import Neurons, Units
from pytest_unineuron.lab.public_texts import PublicTexts
from pytest_unineuron.lab.reporting import Reporting
from pytest_unineuron.lab.result_cache import ResultCache
from pytest_unineuron.lab.results import Results
from pytest_unineuron.lab.runs import Runs, ShownBatches, small_batches
from pytest_unineuron.lab.texts import PROBES, Texts
from pytest_unineuron.lab.universality import Universality, universality_threshold
from pytest_unineuron.lab.weights import Weights
from pytest_unineuron.lab.words import WordResponses
from pytest_unineuron.models.weights.weight_view import WeightView
from pytest_unineuron.roles.composition import Composition, composition
from pytest_unineuron.statistics import POST, PRE, RESIDUAL
from pytest_unineuron.system.machine import GIB
from pytest_unineuron.universality.kinds import KINDS, NEURONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from pytest_unineuron.activations.sweep import SweepResult
    from pytest_unineuron.corpora.blocks import Batch
    from pytest_unineuron.lab.arm import Request
    from pytest_unineuron.models.discovery.anatomy import Anatomy
    from pytest_unineuron.models.loading.source import Source
    from pytest_unineuron.options.settings import Settings


class Lab:
    """The models, corpora and results of a run, which fixtures ask for.

    ``models`` and ``corpora`` map labels to sources and names; corpora other than ``reference`` have to be new data
    beside it. Results are computed when they are first asked for; with a ``folder``, they are stored there for later
    runs. ``requests`` are the results that will be asked for, so that one pass can compute several. ``progress`` makes
    a progress bar from a title, and ``announce`` prints one line before something that takes long. ``processes`` share
    the batches of every pass.
    """

    def __init__(
        self,
        settings: Settings,
        models: Mapping[str, Source],
        corpora: Mapping[str, str],
        *,
        reference: str = "",
        requests: Iterable[Request] = (),
        progress: Callable[..., Callable[[Sequence[Batch]], Iterable[Batch]]] | None = None,
        folder: Path | None = None,
        processes: ProcessGroup = SINGLE_PROCESS,
        announce: Callable[[str], None] | None = None,
    ) -> None:
        self.settings = settings
        self._reporting = reporting = Reporting(progress, announce)
        self._models = Models(settings, dict(models), reporting.note, folder, Digests(folder))
        self._texts = Texts(settings, corpora, self._models, reporting.note, reference)
        self._comparisons = Comparisons(settings, self._models, self._texts, reporting, processes)
        keys = Keys(settings, self._models, self._texts, self._comparisons)
        self._cache = ResultCache(folder, settings.cache_size * GIB, keys, reporting, processes)
        self._results = Results(
            self._models,
            self._texts,
            self._comparisons,
            self._cache,
            reporting,
            requests=requests,
            processes=processes,
        )
        self._universality: dict[tuple[Arm, str], Universality] = {}
        self.attention = AttentionResults(
            self._models, self._texts, self._comparisons, self._results, reporting, self._subject_of
        )
        self.loaded, self.verified = self._models.loaded, self._models.verified
        self.corpus, self.blocks = self._texts.corpus, self._texts.blocks
        self.seeds = self._comparisons.seeds
        self._routed: set[tuple[str, str]] = set()
        self._noted_units: set[tuple[str, str]] = set()
        self._distributions = Distributions(reporting)

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events for the report, in order: models loaded, corpora read, forward passes, results from the cache."""
        return self._reporting.events

    @property
    def unsaved(self) -> int:
        """The number of results that were computed and could not be stored."""
        return self._cache.unsaved

    def fulfil(self, request: Request) -> None:
        """Compute a requested result, unless it is stored. Raises as the results do."""
        if request.compares_seeds:
            self.universality(request.arm, request.corpus)
        for site in request.sites:
            self.sweep(request.arm, request.corpus, site)

    def check_device(self) -> None:
        """Raise OptionError if models cannot run on the device that was asked for."""
        self._models.device  # noqa: B018 - reading it checks it

    def release(self, arm: Arm, following: Arm) -> None:
        """Release what is held for an arm and not for the one that follows.

        All that belongs to a model is held for its arms, which are compared with it, but for one control at a time.
        """
        if arm.model != following.model:
            self._release_model(arm.model)
        elif arm != following and arm.control:
            self._models.release_control(arm)
            self._results.release_control(arm)
            self._universality = {key: found for key, found in self._universality.items() if key[0] != arm}

    def _release_model(self, model: str) -> None:
        self._models.release()
        self._comparisons.release()
        self._texts.release(model)
        self._results.release(model)
        self._universality = {key: found for key, found in self._universality.items() if key[0].model != model}

    # -- results ---------------------------------------------------------------------------------------------

    def neurons(self, arm: Arm, corpus: str) -> Neurons:
        """Return the neurons of an arm on a corpus. Raises NeuronsNotFound, ModelError and CorpusError."""
        subject = self._subject_of(arm)
        return Neurons(
            lambda site: self.sweep(arm, corpus, site),
            self.layer(arm.model),
            lambda: self._results.sinks(arm.model, corpus),
            subject=self.neurons(subject, corpus) if subject else None,
        )

    def _subject_of(self, arm: Arm) -> Arm | None:
        """The model itself, with which a control arm is compared; None for the model, and while a lock is written.

        Whoever locks a claim must not have seen the model.
        """
        return Arm(arm.model) if arm.control and not self.settings.write_lock else None

    def number_words(self, arm: Arm) -> WordResponses:
        """Return the responses of an arm's neurons to words for numbers and to similar words. Raises ModelError."""
        result = self.sweep(arm, number_words.NAME, POST)
        return WordResponses(result, self._texts.last_tokens(arm.model))

    def public_texts(self, arm: Arm) -> PublicTexts:
        """Return the neurons of an arm on the texts of the public evaluations. Raises ModelError."""
        return PublicTexts(self.neurons(arm, public_texts.NAME), self.blocks(arm.model, public_texts.NAME))

    def sweep(self, arm: Arm, corpus: str, site: str) -> SweepResult:
        """Return the statistics of an arm on a corpus, those of a site among them. Raises ModelError, CorpusError."""
        result = self._results.sweep(arm, corpus, site)
        if not arm.activation_source.control and site in (PRE, RESIDUAL):
            self._note_routing(arm.model, corpus, result)
        if site in KINDS.files:
            self._note_units(arm.model, site)
        if site == PRE and corpus not in PROBES:
            pre, layer = Units(lambda _: result, PRE), partial(self.layer, arm.model)
            self._distributions.note(arm, corpus, "kurtosis", lambda: pre.kurtosis, layer)
            self._distributions.note(arm, corpus, "density", lambda: pre.density, layer)
        return result

    def _note_units(self, model: str, kind: str) -> None:
        """Report the number of units of a kind that an extension adds to a model, and a digest of its encoders."""
        if (model, kind) not in self._noted_units:
            self._noted_units.add((model, kind))
            compared = self._comparisons.compared_model(Arm(model))
            facts = {"units": sum(compared.sizes(kind)), "sha256": compared.encoding(kind).digest}
            self._reporting.note({"kind": "units", "model": model, "units": kind, "facts": facts})

    def _note_routing(self, model: str, corpus: str, result: SweepResult) -> None:
        """Report the share of tokens routed to the experts of a model: the least, the median and the largest."""
        layers = self.anatomy(model).layout.layers
        experts = np.repeat([layer.expert is not None for layer in layers], [layer.width for layer in layers])
        if (model, corpus) in self._routed or not experts.any():
            return
        self._routed.add((model, corpus))
        share = Neurons(lambda _: result, self.layer(model)).routed[experts]
        shares = {"least": share.min(), "median": np.median(share), "largest": share.max()}
        rounded = {name: round(float(value), 4) for name, value in shares.items()}
        self._reporting.note({"kind": "routed", "model": model, "corpus": corpus, "share": rounded})

    def universality(self, arm: Arm, corpus: str) -> Universality:
        """Return the units of an arm matched in every further seed of its model on a corpus.

        Raises NotApplicable if there are no further seeds, ModelError if one cannot be compared.
        """
        key = (arm.activation_source, corpus)
        if key not in self._universality:
            subject = self._subject_of(key[0])
            seeds = self.seeds(arm.model)
            found = self._results.comparison(*key)
            for name in seeds:
                self.anatomy(name)  # for the report, which describes seeds that were not run too
            for kind in KINDS.files:
                for name in (arm.model, *seeds):
                    self._note_units(name, kind)
            self._universality[key] = Universality(
                found["matches"],
                seeds,
                tokens=found["tokens"],
                documents=found["documents"],
                threshold=universality_threshold(self.loaded(Arm(arm.model)).parameters),
                subject=self.universality(subject, corpus) if subject else None,
            )
            if self._universality[key].has(NEURONS):
                self._distributions.note_matches(*key, self._universality[key].neurons, seeds, self.layer)
        return self._universality[key]

    def weights(self, arm: Arm) -> Weights:
        """Return the statistics of the weights of an arm, which is made when they are not stored. Raises ModelError."""
        subject = self._subject_of(arm)
        view = WeightView(partial(self.loaded, arm), self.anatomy(arm.model))

        def recall(instrument: Callable[..., Any], given: str | None, compute: Callable[[], Any]) -> Any:
            found = self._results.role(arm, "", instrument, given, compute)
            if instrument is composition and (not arm.control or arm.replaces(controls.MODEL)):
                # The weights themselves, which hold this function, would be garbage that is collected late.
                layer, anatomy = partial(self.layer, arm.model), self.anatomy(arm.model)
                gated = any(each.gated for each in anatomy.layout.layers)
                self._distributions.note_composition(arm, Composition.of(found, anatomy.width), layer, gated=gated)
            return found

        return Weights(view, self.weights(subject) if subject else None, recall)

    def runs(self, arm: Arm, corpus: str) -> Runs:
        """Return runs of an arm over a small part of a corpus. Raises ModelError, CorpusError."""

        def batches(title: str) -> Sequence[Batch]:
            blocks = self._texts.blocks_of_arm(arm, corpus, controls.TEXT)
            found = small_batches(blocks, self._models.positions, self.loaded(arm).vocabulary)
            return ShownBatches(found, self._reporting.bar(arm, f"{corpus}, {title}", part=True))

        subject = self._subject_of(arm)
        return Runs(
            WeightView(partial(self.loaded, arm), self.anatomy(arm.model)),
            batches,
            partial(self._results.role, arm, corpus),
            self.layer(arm.model),
            self.runs(subject, corpus) if subject else None,
        )

    def histograms(self, arm: Arm, corpus: str, units: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return ``unit_histograms`` of an arm's neurons on a corpus. Raises ModelError, CorpusError."""
        self._results.sinks(arm.model, corpus)  # which are left out

        def compute() -> tuple[Tensor, Tensor]:
            batches = self.blocks(arm.model, corpus).batches(self._models.positions)
            shown = self._reporting.bar(arm, f"{corpus}, histograms") or iter
            return unit_histograms(self.loaded(arm).model, self.anatomy(arm.model).layout, shown(batches), units)

        given = " ".join(map(str, units))
        found: tuple[Tensor, Tensor] = self._results.role(arm, corpus, unit_histograms, given, compute)
        return found

    def token_counts(self, model: str, corpus: str) -> Tensor:
        """Return how often each token is in the text that a model reads of a corpus, [token]. Raises CorpusError."""
        blocks = self.blocks(model, corpus).blocks
        ids = [token for block in blocks for token, text in zip(block.ids, block.text_mask, strict=True) if text]
        return torch.bincount(torch.tensor(ids), minlength=self.loaded(Arm(model)).vocabulary)

    # -- neurons ---------------------------------------------------------------------------------------------

    def anatomy(self, model: str) -> Anatomy:
        """Return where the neurons, norms and heads of a model are. Raises NeuronsNotFound."""
        return self._models.anatomy(model)

    def layer(self, model: str) -> NDArray[np.int64]:
        """Return the layer of each neuron of a model, [neuron]. Raises NeuronsNotFound."""
        layout = self.anatomy(model).layout
        return np.repeat(layout.layer_numbers, [layer.width for layer in layout.layers])

    def relabelled(self, arm: Arm) -> NDArray[np.int64]:
        """Return the neuron whose label each neuron gets, [neuron]: itself, unless the control permutes labels."""
        layer = self.layer(arm.model)
        if not arm.replaces(controls.LABELS):
            return np.arange(len(layer))
        order: NDArray[np.int64] = controls.CONTROLS[arm.control].load()(layer, arm.seed)
        return order
