"""Comparisons of models and their control arms with further seeds."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from pytest_unineuron import controls
from pytest_unineuron.errors import ModelError, NotApplicable
from pytest_unineuron.lab.arm import Arm
from pytest_unineuron.models.loading.weight_samples import COPIED, samples_of_model, share_same
from pytest_unineuron.models.weights.weight_view import WeightView
from pytest_unineuron.system.machine import GIB
from pytest_unineuron.universality.cost import batch_positions, seed_room
from pytest_unineuron.universality.match import Resources, match
from pytest_unineuron.universality.seeds import SeedActivations
from pytest_unineuron.universality.units import ComparedModel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from transformers import PreTrainedModel

    from pytest_unineuron.activations.forward_pass import Consumer, Encoding
    from pytest_unineuron.activations.sweep import Transform
    from pytest_unineuron.corpora.blocks import Batch, Blocks
    from pytest_unineuron.distributed.single_process import ComputePart, ProcessGroup
    from pytest_unineuron.lab.models import Models
    from pytest_unineuron.lab.reporting import Reporting
    from pytest_unineuron.lab.texts import Texts
    from pytest_unineuron.models.loading.load import LoadedModel
    from pytest_unineuron.options.settings import Settings

MAX_TEXTS = 2
"""Texts on which the activations of seeds are held: trials on new data also read the reference corpus."""


class Comparisons:
    """Compares models with further seeds. All arms that read a text share the activations of the seeds on it."""

    def __init__(
        self,
        settings: Settings,
        models: Models,
        texts: Texts,
        reporting: Reporting,
        processes: ProcessGroup,
    ) -> None:
        self._settings = settings
        self._models = models
        self._texts = texts
        self._reporting = reporting
        self._processes = processes
        self._memory = settings.memory * float(GIB)
        self._seeds: OrderedDict[tuple[Arm, str], list[SeedActivations]] = OrderedDict()
        self._encodings: WeakKeyDictionary[LoadedModel, dict[str, Encoding]] = WeakKeyDictionary()

    def seeds(self, model: str) -> tuple[str, ...]:
        """Return the labels of the further seeds of a model.

        Raises NotApplicable if there are none, or if neurons of the model are experts'.
        """
        if any(layer.expert is not None for layer in self._models.anatomy(model).layout.layers):
            raise NotApplicable("experts of two seeds see different tokens; their neurons are not compared")
        return self._models.seeds(model)

    def positions(self, model: str) -> int:
        """Return the approximate number of tokens of one forward pass of a comparison, as memory allows.

        Raises as ``seeds`` does.
        """
        if self._settings.batch:
            return self._settings.batch
        models = [self.compared_model(Arm(name)) for name in self.seeds(model)]
        most = max(each.n_units for each in models)
        return batch_positions(self._models.positions, most, models[0].dtype.itemsize, self._memory)

    def compute(
        self,
        arm: Arm,
        corpus: str,
        transform: Transform | None,
        also: Sequence[Consumer],
        compute_part: ComputePart,
    ) -> dict[str, Any]:
        """Return the matches of an arm in the seeds of its model on a corpus. The arm's pass also feeds ``also``.

        Raises NotApplicable if there are no seeds, ModelError for one that cannot be compared, and OptionError if
        there is too little memory.
        """
        names = self.seeds(arm.model)
        seeds = self._seed_activations(arm, corpus, names)
        subject = self.compared_model(arm, transform)
        blocks = self._texts.blocks_of_arm(arm, corpus, controls.TEXT, controls.PAIRING)
        batches = self._batches(arm.model, blocks)
        self._reporting.note_pass(arm, corpus, "comparison")
        held = sum(seed.kept_bytes for of_text in self._seeds.values() for seed in of_text)
        what = f"{corpus} with {len(names)} seeds"
        resources = Resources(
            memory=self._memory - held,
            processes=self._processes,
            compute_part=compute_part,
            progress=self._reporting.bar(arm, what),
            announce=self._reporting.announce,
            title=f"{arm} on {what}",
        )
        found = match(subject, batches, seeds, also=also, resources=resources)
        return {"matches": found, "tokens": sum(batch.n_compared for batch in batches), "documents": blocks.documents}

    def compared_model(self, arm: Arm, transform: Callable[..., Any] | None = None) -> ComparedModel:
        """Return the model of an arm with its units of every kind. Encoders are made once per loaded model."""
        loaded = self._models.loaded(arm)
        view, encodings = WeightView(loaded, self._models.anatomy(arm.model)), self._encodings.setdefault(loaded, {})
        return ComparedModel(view, transform, self._settings.correlation_site, encodings)

    def release(self, corpus: str = "") -> None:
        """Release the activations of all seeds, or those on one text, which are computed anew if asked for again."""
        for key in [key for key in self._seeds if corpus in ("", key[1])]:
            del self._seeds[key]

    def _seed_activations(self, arm: Arm, corpus: str, names: Sequence[str]) -> list[SeedActivations]:
        """The activations of the seeds of a model on the text that an arm reads."""
        text = arm if arm.replaces(controls.TEXT) else Arm(arm.model)
        key = (text, corpus)
        if key not in self._seeds:
            blocks = self._texts.blocks_of_arm(text, corpus, controls.TEXT)
            self.check_comparable(arm.model, names, max(len(block.ids) for block in blocks.blocks))
            models = [self.compared_model(Arm(name)) for name in names]
            batches = self._batches(arm.model, blocks)
            for name in names:
                self._reporting.note_pass(replace(text, model=name), corpus, f"seed of {arm.model}")
            room = seed_room(self._memory, len(names))
            self._seeds[key] = [SeedActivations(model, batches, room=room) for model in models]
        self._seeds.move_to_end(key)
        while len(self._seeds) > MAX_TEXTS:
            self._seeds.popitem(last=False)
        return self._seeds[key]

    def _batches(self, model: str, blocks: Blocks) -> list[Batch]:
        """The batches in which a model and its seeds read a text."""
        return blocks.batches(self.positions(model), compare=self._settings.correlation_tokens)

    def check_comparable(self, model: str, seeds: Sequence[str], longest: int) -> None:
        """Raise ModelError for a seed that has another shape or tokenizer than the model, or the weights of another."""
        subject = self._models.loaded(Arm(model))
        samples = {model: samples_of_model(subject.model)}
        for name in seeds:
            seed = self._models.loaded(Arm(name))
            if _shapes(seed.model) != _shapes(subject.model):
                kinds = [type(each.model).__name__ for each in (seed, subject)]
                raise ModelError(
                    f"{name} ({kinds[0]}) has another shape than {model} ({kinds[1]}), so it is not another seed; "
                    "name models of other training runs with --unineuron-seed"
                )
            if seed.tokenizer.get_vocab() != subject.tokenizer.get_vocab():
                raise ModelError(f"{name} has another tokenizer than {model}: their tokens cannot be compared")
            if seed.context < longest:
                raise ModelError(
                    f"{name} reads {seed.context} tokens at a time, {model} was given {longest}; "
                    f"say --unineuron-context={seed.context}"
                )
            own = samples_of_model(seed.model)
            for other, known in samples.items():
                if share_same(own, known) > COPIED:
                    raise ModelError(
                        f"{name} has the same weights as {other}, so it is not another seed; "
                        "name models of other training runs with --unineuron-seed"
                    )
            samples[name] = own


def _shapes(model: PreTrainedModel) -> dict[str, tuple[int, ...]]:
    """The shape of every parameter by name, which two runs of one training recipe share."""
    return {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
