"""The lab: from settings to models, corpora, one sweep each and finished results."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_unineuron import controls
from pytest_unineuron.activations.sweep import Sweeper, Swept, sweep
from pytest_unineuron.cache.digests import Digests
from pytest_unineuron.cache.store import PARTS_FOLDER, Store
from pytest_unineuron.corpora import number_words
from pytest_unineuron.corpora.blocks import Blocks, to_blocks
from pytest_unineuron.corpora.find import find_corpus
from pytest_unineuron.distributed.single_process import SINGLE_PROCESS, ProcessGroup
from pytest_unineuron.errors import ModelError, NotApplicable
from pytest_unineuron.lab.arm import Arm, Request
from pytest_unineuron.lab.models import Models
from pytest_unineuron.lab.neurons import Neurons
from pytest_unineuron.lab.result_cache import Keys, ResultCache
from pytest_unineuron.lab.universality import TOY, UNIVERSAL, UNIVERSAL_IN_TOYS, Universality
from pytest_unineuron.lab.weights import Weights
from pytest_unineuron.lab.words import WordResponses
from pytest_unineuron.models.loading.source import parse_source
from pytest_unineuron.models.registry import seeds_compared_with
from pytest_unineuron.models.weights.weight_view import WeightView
from pytest_unineuron.statistics import DEFAULT_SITES, POST, PRE, RESIDUAL, UP
from pytest_unineuron.universality import cost
from pytest_unineuron.universality.match import match
from pytest_unineuron.universality.seeds import Counterpart
from pytest_unineuron.universality.units import Member

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from pytest_unineuron.controls.rotation import Rotation
    from pytest_unineuron.corpora.blocks import Batch
    from pytest_unineuron.corpora.corpus import Corpus
    from pytest_unineuron.distributed.single_process import ComputePart
    from pytest_unineuron.models.loading.load import LoadedModel
    from pytest_unineuron.models.loading.source import Source
    from pytest_unineuron.options.settings import Settings


class Lab:
    """The only instrument the fixtures talk to.

    ``models`` and ``corpora`` map labels to what they stand for. Results are kept, so that a trial pays for
    what no trial before it has asked for; with a ``folder``, for what was never asked for on this machine. There
    is also remembered where the neurons of a configuration are. ``events`` lists, in order, what the report needs
    to know: every model that was loaded, every corpus that was read, every sweep pass that was made, and what was
    taken over instead. ``comparing`` are the (model, corpus) on which trials are going to compare seeds, so that
    one pass can serve both. ``processes`` share the batches of every pass. ``announce`` is told what will take long.
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
        self.events: list[dict[str, Any]] = []
        self._comparing = {(each.arm, each.corpus) for each in requests if each.compares_seeds}
        self._sources = dict(models)
        self._corpora = corpora
        self._progress = progress
        self._announce = announce
        digests = Digests(folder)
        self._models = Models(settings, self._sources, self.events.append, folder, digests)
        self._keys = Keys(settings)
        whole = None if folder is None else Store(folder, settings.cache_size * 2**30, self._tell)
        parts = None if folder is None else Store(folder, notify=self._tell, name=PARTS_FOLDER)
        self._results = ResultCache(whole, parts, self.events.append, processes)
        self._processes = processes
        self._matched: dict[tuple[Arm, str], Universality] = {}
        self._others: OrderedDict[tuple[Arm, str], list[Counterpart]] = OrderedDict()
        self._swept: dict[tuple[Arm, str, frozenset[str]], Swept] = {}
        self.corpus = cache(self._corpus)
        self.blocks = cache(self._blocks)
        self.loaded, self.anatomy, self.verified = self._models.loaded, self._models.anatomy, self._models.verified

    @property
    def unsaved(self) -> int:
        """How many results were computed that could not be stored for a later run."""
        return self._results.unsaved

    def fulfil(self, request: Request) -> None:
        """Compute what a request names, unless it is stored. Raises NotApplicable and ModelError."""
        if request.compares_seeds:
            self.universality(request.arm, request.corpus)
        for site in request.sites:
            self.swept(request.arm, request.corpus, site)

    def release(self, model: str) -> None:
        """Let go of all models in memory, and of the results of one."""
        self._models.release()
        self._others.clear()
        self._matched = {key: found for key, found in self._matched.items() if key[0].model != model}
        self._swept = {key: found for key, found in self._swept.items() if key[0].model != model}

    def view(self, arm: Arm) -> WeightView:
        """The weights of an arm, read as units."""
        return WeightView(self.loaded(arm), self.anatomy(arm.model))

    def weights(self, arm: Arm) -> Weights:
        """What the weights of an arm say."""
        return Weights(self.view(arm))

    # -- corpora -----------------------------------------------------------------------------------------

    def _corpus(self, label: str) -> Corpus:
        if label == number_words.NAME:
            return number_words.corpus()
        return find_corpus(self._corpora[label], field=self.settings.text_field)

    def _blocks(self, model: str, corpus: str) -> Blocks:
        """A corpus as a model reads it. A probe is read whole, whatever the token budget."""
        loaded = self.loaded(Arm(model))
        budget = 10**9 if corpus == number_words.NAME else self.settings.tokens
        blocks = to_blocks(self.corpus(corpus), loaded.tokenizer, context=self._context(loaded), budget=budget)
        facts = {"spec": self._corpora.get(corpus, corpus), **blocks.corpus.facts()}
        self.events.append({"kind": "corpus", "label": corpus, "facts": facts, "model": model, "tokens": blocks.tokens})
        return blocks

    # -- sweeps ------------------------------------------------------------------------------------------

    def neurons(self, arm: Arm, corpus: str) -> Neurons:
        """The neurons of an arm on a corpus."""
        return Neurons(lambda site: self.swept(arm, corpus, site), self.layer(arm.model))

    def number_words(self, arm: Arm) -> WordResponses:
        """How the neurons of an arm answer to words for numbers and to words like them."""
        swept = self.swept(arm, number_words.NAME, POST)
        return WordResponses(swept, self._sizes(arm.model)[POST], self._last_tokens(arm.model))

    def universality(self, arm: Arm, corpus: str) -> Universality:
        """The units of an arm matched in every further seed of its model, on a corpus.

        Raises NotApplicable if no further seed is known, ModelError if one cannot be compared.
        """
        if any(layer.expert is not None for layer in self.anatomy(arm.model).layout.layers):
            raise NotApplicable("experts of two seeds see different tokens; their neurons are not compared")
        key = (arm.read, corpus)
        if key not in self._matched:
            self._matched[key] = self._compared(*key)
        return self._matched[key]

    def _compared(self, arm: Arm, corpus: str, sweeper: Sweeper | None = None) -> Universality:
        """An arm compared with its seeds, unless that was done before. A ``sweeper`` gathers from the same pass."""
        found = self._results.get_or_compute(
            "universality",
            arm,
            corpus,
            lambda: self._comparison_key(arm, corpus),
            lambda compute_part: self._match(arm, corpus, compute_part, sweeper),
        )
        seeds = self.seeds(arm.model)
        for name in seeds:
            self.anatomy(name)  # the report says what they are, also of those that were not run
        threshold = UNIVERSAL if self.loaded(Arm(arm.model)).parameters >= TOY else UNIVERSAL_IN_TOYS
        return Universality(
            found["matches"], seeds, tokens=found["tokens"], documents=found["documents"], threshold=threshold
        )

    def relabelled(self, arm: Arm) -> NDArray[np.int64]:
        """Whose label each neuron of an arm gets, [neuron]: its own, unless that is what the arm's control changes."""
        layer = self.layer(arm.model)
        if not arm.replaces(controls.LABELS):
            return np.arange(len(layer))
        order: NDArray[np.int64] = controls.CONTROLS[arm.control].load()(layer, arm.seed)
        return order

    def seeds(self, model: str) -> tuple[str, ...]:
        """The labels of the further seeds a model is compared with. Raises NotApplicable if there are none."""
        labels = {source.spec: label for label, source in self._sources.items()}
        named = seeds_compared_with(self._sources[model], self.settings.seed)
        for spec in named:
            if spec not in labels:
                # What a user typed for a seed may be the label of a model under test.
                labels[spec] = spec if spec not in self._sources else f"seed {spec}"
                self._sources[labels[spec]] = parse_source(spec)
        return tuple(labels[spec] for spec in named)

    def _match(self, arm: Arm, corpus: str, compute_part: ComputePart, sweeper: Sweeper | None) -> dict[str, Any]:
        seeds = self.seeds(arm.model)
        others = self._counterparts(arm, corpus, seeds)
        subject = self._member(arm, self._change(arm, corpus))
        blocks = self._text(arm, corpus, controls.TEXT, controls.PAIRING)
        batches = self._compared_batches(arm.model, blocks)
        self._note_pass(arm, corpus)
        held = sum(other.held for of_text in self._others.values() for other in of_text)
        what = f"{corpus} with {len(seeds)} seeds"
        title = f"{arm.model}{'~' if arm.control else ''}{arm.control} on {what}"
        memory = self.settings.memory * 2.0**30 - held
        found = match(
            subject,
            batches,
            others,
            memory=memory,
            sweeper=sweeper,
            progress=self._bar(arm, what),
            announce=self._announce,
            title=title,
            processes=self._processes,
            compute_part=compute_part,
        )
        return {"matches": found, "tokens": sum(batch.n_compared for batch in batches), "documents": blocks.documents}

    def _counterparts(self, arm: Arm, corpus: str, seeds: Sequence[str]) -> list[Counterpart]:
        """The seeds of a model on a text, shared by all arms that read it. Those of the last two texts are kept."""
        text = arm if arm.replaces(controls.TEXT) else Arm(arm.model)
        key = (text, corpus)
        if key not in self._others:
            blocks = self._text(text, corpus, controls.TEXT)
            self._check_comparable(arm.model, seeds, max(len(block.ids) for block in blocks.blocks))
            members, batches = [self._member(Arm(name)) for name in seeds], self._compared_batches(arm.model, blocks)
            room = cost.room_of(self.settings.memory * 2.0**30, len(seeds))
            for name in seeds:
                self._note_pass(replace(text, model=name), corpus)
            self._others[key] = [Counterpart(member, batches, room=room) for member in members]
        self._others.move_to_end(key)
        while len(self._others) > 2:
            self._others.popitem(last=False)
        return self._others[key]

    def _compared_batches(self, model: str, blocks: Blocks) -> list[Batch]:
        """A text as a model and its seeds read it together."""
        return blocks.batches(self._compared_at_once(model), compare=self.settings.correlation_tokens)

    def _compared_at_once(self, model: str) -> int:
        """About how many tokens are read in one pass where seeds are compared: no more than memory allows."""
        if self.settings.batch:
            return self.settings.batch
        members = [self._member(Arm(name)) for name in self.seeds(model)]
        item, memory = members[0].dtype.itemsize, self.settings.memory * 2.0**30
        return cost.at_once(self._batch, max(member.units for member in members), item, memory)

    def _member(self, arm: Arm, change: Rotation | None = None) -> Member:
        return Member(self.loaded(arm).model, self.anatomy(arm.model), change, self.settings.correlation_site)

    def _check_comparable(self, model: str, seeds: Sequence[str], longest: int) -> None:
        """Raises ModelError for a seed that cannot read the same tokens, or is the model itself once more."""
        subject = self.loaded(Arm(model))
        digests = {subject.weights_digest: model} if subject.weights_digest else {}
        for name in seeds:
            seed = self.loaded(Arm(name))
            if seed.tokenizer.get_vocab() != subject.tokenizer.get_vocab():
                raise ModelError(f"{name} has another tokenizer than {model}: their tokens cannot be compared")
            if seed.context < longest:
                raise ModelError(
                    f"{name} reads {seed.context} tokens at a time, {model} was given {longest}; "
                    f"say --unineuron-context={seed.context}"
                )
            if seed.weights_digest and digests.setdefault(seed.weights_digest, name) != name:
                raise ModelError(
                    f"{name} has the very weights of {digests[seed.weights_digest]}: it is no further seed"
                )

    def layer(self, model: str) -> NDArray[np.int64]:
        """The layer of each neuron of a model, [neuron]."""
        layout = self.anatomy(model).layout
        return np.repeat(layout.layer_numbers, [layer.width for layer in layout.layers])

    def swept(self, arm: Arm, corpus: str, site: str) -> Swept:
        """The finished statistics of an arm on a corpus that hold a site; swept when they are first asked for.

        One pass gathers all sites, except where units are rotated: a rotation costs several passes, so it is
        made for the post-activations only when a trial asks for these. Where the arm is going to be compared
        with seeds on the same text, the same pass does that too.
        """
        arm, sites = arm.read, DEFAULT_SITES
        if site == UP:
            sites = frozenset({UP})
        elif arm.replaces(controls.UNITS):
            sites = frozenset({POST}) if site == POST else DEFAULT_SITES - {POST}
        key = (arm, corpus, sites)
        if key not in self._swept:
            self._swept[key] = self._results.get_or_compute(
                "sweep",
                arm,
                corpus,
                lambda: self._sweep_key(arm, corpus, sites),
                lambda compute_part: self._sweep(arm, corpus, sites, compute_part),
            )
            if not arm.control and PRE in sites:
                self._note_routing(arm.model, corpus)
        return self._swept[key]

    def _note_routing(self, model: str, corpus: str) -> None:
        """Tell how large a share of the tokens the experts of a model saw: the least, the median and the largest."""
        experts = np.repeat(
            [layer.expert is not None for layer in self.anatomy(model).layout.layers],
            [layer.width for layer in self.anatomy(model).layout.layers],
        )
        if experts.any():
            share = self.neurons(Arm(model), corpus).routed[experts]
            of = {"least": share.min(), "median": np.median(share), "largest": share.max()}
            self.events.append(
                {
                    "kind": "routed",
                    "model": model,
                    "corpus": corpus,
                    "share": {name: round(float(value), 4) for name, value in of.items()},
                }
            )

    def _sweep(self, arm: Arm, corpus: str, sites: frozenset[str], compute_part: ComputePart) -> Swept:
        anatomy, blocks = self.anatomy(arm.model), self._text(arm, corpus, controls.TEXT)
        change, model = self._change(arm, corpus, sites), self.loaded(arm).model
        if sites != {UP} and self._compared_too(arm, corpus):
            sweeper = Sweeper(blocks, model.device, sites=sites, change=change)
            try:
                self._matched[arm, corpus] = self._compared(arm, corpus, sweeper)
                if sweeper.began:  # else the comparison was made before
                    return sweeper.finished()
            except Exception:  # what fails here must not fail trials that compare nothing; one that does will say so
                self._comparing.discard((arm, corpus))
        self._note_pass(arm, corpus)
        return sweep(
            model,
            anatomy.layout,
            blocks,
            batch=self._batch,
            sites=sites,
            change=change,
            progress=self._bar(arm, corpus),
            processes=self._processes,
            compute_part=compute_part,
        )

    def _compared_too(self, arm: Arm, corpus: str) -> bool:
        """Whether a trial is going to compare this arm with seeds on the text that it is swept on."""
        reads_other_text = arm.replaces(controls.TEXT) or arm.replaces(controls.PAIRING)
        return (arm, corpus) in self._comparing and (arm, corpus) not in self._matched and not reads_other_text

    def _change(self, arm: Arm, corpus: str, sites: frozenset[str] = DEFAULT_SITES) -> Rotation | None:
        return self._rotation(arm, corpus, sites) if arm.replaces(controls.UNITS) else None

    def _text(self, arm: Arm, corpus: str, *replaced: str) -> Blocks:
        """A corpus as an arm reads it, where its control replaces one of these; as the model does otherwise."""
        blocks = self.blocks(arm.model, corpus)
        if any(map(arm.replaces, replaced)):
            tokenizer = self.loaded(Arm(arm.model)).tokenizer
            blocks = controls.CONTROLS[arm.control].load()(blocks, tokenizer, arm.seed)
        return blocks

    @property
    def _batch(self) -> int:
        return self.settings.batch or (1024 if self._models.device == "cpu" else 32_768)

    def _sweep_key(self, arm: Arm, corpus: str, sites: frozenset[str]) -> dict[str, Any]:
        """What a sweep of an arm depends on."""
        return {**self._key(arm, corpus), "sites": sorted(sites)}

    def _comparison_key(self, arm: Arm, corpus: str) -> dict[str, Any]:
        """What a comparison of an arm with the seeds of its model depends on."""
        seeds = [self._keys.model(self.loaded(Arm(name))) for name in self.seeds(arm.model)]
        of_settings = {name: getattr(self.settings, name) for name in ("correlation_tokens", "correlation_site")}
        # The norms of heads are taken against the rows that are read together.
        return {**self._key(arm, corpus), "seeds": seeds, "batch": self._compared_at_once(arm.model), **of_settings}

    def _key(self, arm: Arm, corpus: str) -> dict[str, Any]:
        loaded = self.loaded(Arm(arm.model))
        return self._keys.of(arm, loaded, self.blocks(arm.model, corpus), self._context(loaded))

    def _context(self, loaded: LoadedModel) -> int:
        return min(self.settings.context or 512, loaded.context)

    def _tell(self, text: str) -> None:
        """Something about the cache that whoever reads the report should know."""
        self.events.append({"kind": "cache_note", "text": text})

    def _note_pass(self, arm: Arm, corpus: str) -> None:
        self.events.append(
            {"kind": "forward_pass", "model": arm.model, "corpus": corpus, "control": arm.control, "draw": arm.draw}
        )

    def _bar(self, arm: Arm, what: str) -> Any:
        title = f"{arm.model}{'~' if arm.control else ''}{arm.control} on {what}"
        return self._progress(title) if self._progress else None

    def _rotation(self, arm: Arm, corpus: str, sites: frozenset[str]) -> Rotation:
        # A rotation of some sites has to be the same as one of all.
        plain = self.swept(Arm(arm.model), corpus, UP if sites == {UP} else PRE)
        moments = {site: plain.total(site, "moments") for site in (sites if sites == {UP} else DEFAULT_SITES)}
        made: Rotation = controls.CONTROLS[arm.control].load()(moments, self._sizes(arm.model), arm.seed)
        return made

    def _sizes(self, model: str) -> dict[str, list[int]]:
        anatomy = self.anatomy(model)
        widths = [layer.width for layer in anatomy.layout.layers]
        gated = [layer.width for layer in anatomy.layout.layers if layer.gated]
        return {PRE: widths, POST: widths, RESIDUAL: [anatomy.middle_width], UP: gated}

    def _last_tokens(self, model: str) -> NDArray[np.int64]:
        """The token each probe word is read at, [word]."""
        last: dict[int, int] = {}
        for block in self.blocks(model, number_words.NAME).blocks:
            last.update((label, token) for label, token in zip(block.labels, block.ids, strict=True) if label >= 0)
        return np.array([last[label] for label in range(len(number_words.WORDS))])
