"""The lab: from settings to models, corpora and finished results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_unineuron import controls
from pytest_unineuron.cache.digests import Digests
from pytest_unineuron.corpora import number_words
from pytest_unineuron.distributed.single_process import SINGLE_PROCESS, ProcessGroup
from pytest_unineuron.lab.arm import Arm
from pytest_unineuron.lab.comparisons import Comparisons
from pytest_unineuron.lab.keys import Keys
from pytest_unineuron.lab.models import Models
from pytest_unineuron.lab.neurons import Neurons
from pytest_unineuron.lab.reporting import Reporting
from pytest_unineuron.lab.result_cache import ResultCache
from pytest_unineuron.lab.results import Results
from pytest_unineuron.lab.texts import Texts
from pytest_unineuron.lab.universality import Universality, universality_threshold
from pytest_unineuron.lab.weights import Weights
from pytest_unineuron.lab.words import WordResponses
from pytest_unineuron.models.weights.weight_view import WeightView
from pytest_unineuron.statistics import DEFAULT_SITES, POST
from pytest_unineuron.universality.cost import GIB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from pytest_unineuron.activations.sweep import SweepResult
    from pytest_unineuron.corpora.blocks import Batch
    from pytest_unineuron.lab.arm import Request
    from pytest_unineuron.models.discovery.anatomy import Anatomy
    from pytest_unineuron.models.loading.source import Source
    from pytest_unineuron.options.settings import Settings


class Lab:
    """The only instrument that fixtures talk to.

    ``models`` and ``corpora`` map labels to what they stand for. Results are computed when they are first asked for;
    with a ``folder``, once per machine. ``events`` lists, in order, what the report needs to know: models that were
    loaded, corpora that were read, forward passes, and results that were found in the cache. ``requests`` are the
    results that are going to be asked for, so that one pass can serve several. ``processes`` share the batches of
    every pass. ``announce`` is given a line before something takes long.
    """

    def __init__(
        self,
        settings: Settings,
        models: Mapping[str, Source],
        corpora: Mapping[str, str],
        *,
        requests: Iterable[Request] = (),
        progress: Callable[[str], Callable[[Sequence[Batch]], Iterable[Batch]]] | None = None,
        folder: Path | None = None,
        processes: ProcessGroup = SINGLE_PROCESS,
        announce: Callable[[str], None] | None = None,
    ) -> None:
        self.settings = settings
        self._reporting = reporting = Reporting(progress, announce)
        sources = dict(models)
        self._models = Models(settings, sources, reporting.note, folder, Digests(folder))
        self._texts = Texts(settings, corpora, self._models, reporting.note)
        self._comparisons = Comparisons(settings, sources, self._models, self._texts, reporting, processes)
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
        self.loaded, self.verified = self._models.loaded, self._models.verified
        self.corpus, self.blocks = self._texts.corpus, self._texts.blocks
        self.seeds = self._comparisons.seeds
        self._routed: set[tuple[str, str]] = set()

    @property
    def events(self) -> list[dict[str, Any]]:
        """What the report needs to know, in order."""
        return self._reporting.events

    @property
    def unsaved(self) -> int:
        """How many results were computed that could not be stored for a later run."""
        return self._cache.unsaved

    def fulfil(self, request: Request) -> None:
        """Compute what a request names, unless it is stored. Raises NotApplicable and ModelError."""
        if request.compares_seeds:
            self.universality(request.arm, request.corpus)
        for site in request.sites:
            self.sweep(request.arm, request.corpus, site)

    def release(self, model: str) -> None:
        """Let go of all models in memory, and of the results of one."""
        self._models.release()
        self._comparisons.release()
        self._texts.release(model)
        self._results.release(model)
        self._universality = {key: found for key, found in self._universality.items() if key[0].model != model}

    # -- results ---------------------------------------------------------------------------------------------

    def neurons(self, arm: Arm, corpus: str) -> Neurons:
        """The neurons of an arm on a corpus."""
        return Neurons(lambda site: self.sweep(arm, corpus, site), self.layer(arm.model))

    def number_words(self, arm: Arm) -> WordResponses:
        """The responses of an arm's neurons to words for numbers and to words like them."""
        swept = self.sweep(arm, number_words.NAME, POST)
        return WordResponses(swept, self._results.sizes(arm.model)[POST], self._texts.last_tokens(arm.model))

    def sweep(self, arm: Arm, corpus: str, site: str) -> SweepResult:
        """The statistics of an arm on a corpus that hold a site."""
        result = self._results.sweep(arm, corpus, site)
        if not arm.activation_source.control and site in DEFAULT_SITES:
            self._note_routing(arm.model, corpus, result)
        return result

    def _note_routing(self, model: str, corpus: str, result: SweepResult) -> None:
        """Note the share of tokens that the experts of a model saw: the least, the median and the largest."""
        layers = self.anatomy(model).layout.layers
        experts = np.repeat([layer.expert is not None for layer in layers], [layer.width for layer in layers])
        if (model, corpus) in self._routed or not experts.any():
            return
        self._routed.add((model, corpus))
        share = Neurons(lambda _: result, self.layer(model)).routed[experts]
        of = {"least": share.min(), "median": np.median(share), "largest": share.max()}
        rounded = {name: round(float(value), 4) for name, value in of.items()}
        self._reporting.note({"kind": "routed", "model": model, "corpus": corpus, "share": rounded})

    def universality(self, arm: Arm, corpus: str) -> Universality:
        """The units of an arm matched in every further seed of its model, on a corpus.

        Raises NotApplicable if no further seed is known, ModelError if one cannot be compared.
        """
        key = (arm.activation_source, corpus)
        if key not in self._universality:
            seeds = self.seeds(arm.model)
            found = self._results.comparison(*key)
            for name in seeds:
                self.anatomy(name)  # the report says what they are, also of those that were not run
            self._universality[key] = Universality(
                found["matches"],
                seeds,
                tokens=found["tokens"],
                documents=found["documents"],
                threshold=universality_threshold(self.loaded(Arm(arm.model)).parameters),
            )
        return self._universality[key]

    def weights(self, arm: Arm) -> Weights:
        """Everything that the weights of an arm say."""
        return Weights(WeightView(self.loaded(arm), self.anatomy(arm.model)))

    # -- what is known of a model ----------------------------------------------------------------------------

    def anatomy(self, model: str) -> Anatomy:
        """Where the neurons, norms and heads of a model are. Raises NeuronsNotFound."""
        return self._models.anatomy(model)

    def layer(self, model: str) -> NDArray[np.int64]:
        """The layer of each neuron of a model, [neuron]."""
        layout = self.anatomy(model).layout
        return np.repeat(layout.layer_numbers, [layer.width for layer in layout.layers])

    def relabelled(self, arm: Arm) -> NDArray[np.int64]:
        """The neuron whose label each neuron gets, [neuron]: its own, unless the arm's control permutes labels."""
        layer = self.layer(arm.model)
        if not arm.replaces(controls.LABELS):
            return np.arange(len(layer))
        order: NDArray[np.int64] = controls.CONTROLS[arm.control].load()(layer, arm.seed)
        return order
