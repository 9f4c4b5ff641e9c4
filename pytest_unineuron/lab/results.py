"""Finished results by arm and corpus: from memory, from the cache, or from a forward pass that yields several."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from pytest_unineuron import controls
from pytest_unineuron.activations.sinks import Sinks, find_sinks
from pytest_unineuron.activations.sweep import StatisticsConsumer, SweepResult, sweep
from pytest_unineuron.errors import RankLost, UnineuronError
from pytest_unineuron.lab.arm import Arm, Request
from pytest_unineuron.lab.instrument import name_of, source_of
from pytest_unineuron.lab.keys import added_kinds
from pytest_unineuron.lab.texts import PROBES
from pytest_unineuron.statistics import EXTREMES, POST, PRE, RESIDUAL, SINKS, UP, statistics_for
from pytest_unineuron.universality.kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pytest_unineuron.activations.sweep import Transform
    from pytest_unineuron.distributed.single_process import ComputePart, ProcessGroup
    from pytest_unineuron.lab.comparisons import Comparisons
    from pytest_unineuron.lab.models import Models
    from pytest_unineuron.lab.reporting import Reporting
    from pytest_unineuron.lab.result_cache import ResultCache
    from pytest_unineuron.lab.texts import Texts

    Recall = Callable[[Callable[..., Any], str | None, Callable[[], Any]], Any]
    """Returns what an instrument found with a digest of what it was given, or calls a function that computes it."""


def stored_together(site: str) -> tuple[str, ...]:
    """Return the sites whose statistics are one result with those of a site.

    The sites that trials on neurons read are one result. Post-activations, the up projection, the extremes and kinds
    of units that extensions add are results of their own: few trials ask for them, and post-activations alone would
    double the size of a result.
    """
    return (PRE, RESIDUAL) if site in (PRE, RESIDUAL) else (site,)


class Results:
    """Statistics of sweeps and comparisons with seeds, each computed once and held until its model is released.

    ``requests`` are the results that the items of the run will ask for. A pass that is made for one of them also
    computes the others that are requested of the same arm on the same corpus.
    """

    def __init__(
        self,
        models: Models,
        texts: Texts,
        comparisons: Comparisons,
        cache: ResultCache,
        reporting: Reporting,
        *,
        requests: Iterable[Request] = (),
        processes: ProcessGroup,
    ) -> None:
        self._models = models
        self._texts = texts
        self._comparisons = comparisons
        self._cache = cache
        self._reporting = reporting
        self._processes = processes
        self._requested = {job: None for request in requests if not request.role for job in self._jobs(request)}
        self._held: dict[Request, Any] = {}
        self._since = time.time()

    def sweep(self, arm: Arm, corpus: str, site: str) -> SweepResult:
        """Return the statistics of an arm on a corpus, those of a site among them."""
        arm = arm.activation_source
        result: SweepResult = self._get(Request(arm, corpus, stored_together(site)))
        return result

    def comparison(self, arm: Arm, corpus: str) -> dict[str, Any]:
        """Return the matches of an arm in the seeds of its model on a corpus. Raises as ``Comparisons.compute``."""
        found: dict[str, Any] = self._get(Request(arm.activation_source, corpus, compares_seeds=True))
        return found

    def sinks(self, model: str, corpus: str) -> Sinks:
        """Return the sinks of a model on a corpus, which the statistics of all of its arms leave out.

        The probes have none: what is asked of them is asked of every token.
        """
        if corpus in PROBES:
            return Sinks()
        job = Request(Arm(model), corpus, (SINKS,))
        if job not in self._held:
            found = self._cache.get_or_compute(job, lambda part: self._find_sinks(job, part))
            self._texts.leave_out(model, corpus, found)
            self._reporting.note({"kind": SINKS, "model": model, "corpus": corpus, "facts": found.facts()})
            self._held[job] = found
        sinks: Sinks = self._held[job]
        return sinks

    def role(
        self, arm: Arm, corpus: str, instrument: Callable[..., Any], given: str | None, compute: Callable[[], Any]
    ) -> Any:
        """Return what an instrument found in the weights of an arm, or in runs of it over a part of a corpus.

        ``given`` is a digest of what else it was given. The key of the result has the source of an instrument from
        outside in it; where that or the digest is not known, the result is computed anew and not stored.
        """
        arm = arm.activation_source
        source = source_of(instrument, self._since)
        path = f"{instrument.__module__}.{name_of(instrument)}"

        def noted(part: Any = None) -> Any:
            if corpus:
                self._reporting.note_pass(arm, corpus, f"{path} {given}")
            return compute()

        if source is None or given is None:
            return noted()
        job = Request(arm, corpus, role=":".join(filter(None, (path, given, source))))
        if job not in self._held:
            self._held[job] = self._cache.get_or_compute(job, noted)
        return self._held[job]

    def release(self, model: str) -> None:
        """Release all results of a model; those in the cache can be read again."""
        self._held = {job: result for job, result in self._held.items() if job.arm.model != model}

    def release_control(self, arm: Arm) -> None:
        """Release all results of a control arm; those in the cache can be read again."""
        self._held = {job: result for job, result in self._held.items() if job.arm != arm}

    def _get(self, job: Request) -> Any:
        if job not in self._held:
            self.sinks(job.arm.model, job.corpus)
            self._held[job] = self._cache.get_or_compute(job, lambda part: self._compute(job, part))
        return self._held[job]

    def _find_sinks(self, job: Request, compute_part: ComputePart) -> Sinks:
        return find_sinks(
            self._models.loaded(job.arm).model,
            self._models.anatomy(job.arm.model).layout,
            self._texts.blocks(job.arm.model, job.corpus).batches(self._models.positions),
            progress=self._reporting.bar(job.arm, f"{job.corpus}, sinks"),
            processes=self._processes,
            compute_part=compute_part,
        )

    # -- one pass for several results ------------------------------------------------------------------------

    def _compute(self, job: Request, compute_part: ComputePart) -> Any:
        """Compute the result of a job. Others that the same pass yields are stored, and held in memory."""
        jobs = [job, *self._also_requested(job)]
        comparison = next((each for each in jobs if each.compares_seeds), None)
        if comparison is not None:
            try:
                return self._hold_others(job, self._compare(comparison, jobs, compute_part))
            except UnineuronError as error:
                if comparison == job or isinstance(error, RankLost):
                    raise
                # The trial that asks for the comparison will report the error; this one does not need it.
                del self._requested[comparison]
                jobs.remove(comparison)
        return self._hold_others(job, self._sweep(jobs, compute_part))

    def _also_requested(self, job: Request) -> list[Request]:
        """Other requested results that a pass of the same arm over the same text yields, and that are not stored."""
        reads_other_text = job.arm.replaces(controls.TEXT) or job.arm.replaces(controls.PAIRING)
        others = [
            other
            for other in self._requested
            if (other.arm, other.corpus) == (job.arm, job.corpus)
            and other != job
            and other not in self._held
            and not (reads_other_text and job.compares_seeds != other.compares_seeds)
        ]
        return [other for other in others if self._must_compute(other)]

    def _must_compute(self, job: Request) -> bool:
        """Whether a result can be computed and is not stored; one that is stored is now held."""
        try:
            found = self._cache.find(job)
        except UnineuronError:  # a model without seeds, say: the trial that compares them will report it
            del self._requested[job]
            return False
        if found is not None:
            self._held[job] = found
        return found is None

    def _hold_others(self, job: Request, results: dict[Request, Any]) -> Any:
        """Return the result of a job, after storing the other results."""
        for other, result in results.items():
            if other != job:
                self._held[other] = result
                self._cache.store(other, result)
        return results[job]

    def _compare(self, comparison: Request, jobs: Sequence[Request], compute_part: ComputePart) -> dict[Request, Any]:
        """The results of all jobs, from the pass of a comparison."""
        arm, corpus = comparison.arm, comparison.corpus
        transform = self._transform(arm, corpus, jobs)
        consumers = {job: self._consumer(job, transform) for job in jobs if job != comparison}
        found = self._comparisons.compute(arm, corpus, transform, list(consumers.values()), compute_part)
        if not any(
            each.compares_seeds and (each.arm.model, each.corpus) == (arm.model, corpus) and each not in self._held
            for each in self._requested.keys() - {comparison}
        ):
            self._comparisons.release(corpus)
        return {comparison: found, **{job: consumer.result() for job, consumer in consumers.items()}}

    def _sweep(self, jobs: Sequence[Request], compute_part: ComputePart) -> dict[Request, Any]:
        """The results of jobs that all are statistics."""
        arm, corpus = jobs[0].arm, jobs[0].corpus
        transform = self._transform(arm, corpus, jobs)
        consumers = [self._consumer(job, transform) for job in jobs]
        blocks = self._texts.blocks_of_arm(arm, corpus, controls.TEXT)
        compared = self._comparisons.compared_model(arm)
        self._reporting.note_pass(arm, corpus, "statistics")
        found = sweep(
            compared.model,
            compared.anatomy.layout,
            blocks.batches(self._models.positions),
            consumers,
            attentions=compared.anatomy.attentions,
            encodings=compared.encodings_at({site for job in jobs for site in job.sites}),
            progress=self._reporting.bar(arm, corpus),
            processes=self._processes,
            compute_part=compute_part,
        )
        return dict(zip(jobs, found, strict=True))

    def _consumer(self, job: Request, transform: Transform | None) -> StatisticsConsumer:
        blocks = self._texts.blocks_of_arm(job.arm, job.corpus, controls.TEXT)
        device = self._models.loaded(job.arm).model.device
        return StatisticsConsumer(blocks, device, statistics=statistics_for(job.sites), transform=transform)

    def _transform(self, arm: Arm, corpus: str, jobs: Sequence[Request]) -> Transform | None:
        """The rotation of an arm's units, standardised by the moments of the model itself; None for other arms."""
        if not arm.replaces(controls.UNITS):
            return None
        plain, sites = Arm(arm.model), {site for job in jobs for site in self._rotated_sites(job)}
        if not self._models.anatomy(arm.model).middle_width:
            sites.discard(RESIDUAL)
        moments = {site: self.sweep(plain, corpus, site).total(site, "moments") for site in sites}
        made: Transform = controls.CONTROLS[arm.control].load()(moments, self.sizes(arm.model), arm.seed)
        return made

    def _rotated_sites(self, job: Request) -> tuple[str, ...]:
        """The sites whose units are rotated for a result."""
        if job.compares_seeds:
            return (self._models.settings.correlation_site, RESIDUAL, *added_kinds(job))
        return (POST,) if job.sites == (EXTREMES,) else job.sites

    def _jobs(self, request: Request) -> list[Request]:
        """The results that a request is made of, and those of the model itself that standardise rotated units."""
        arm, corpus = request.arm, request.corpus
        jobs = [Request(arm, corpus, stored_together(site)) for site in request.sites]
        if request.compares_seeds:
            jobs = [Request(arm, corpus, compares_seeds=True)]
        if arm.replaces(controls.UNITS):
            sites = [site for job in jobs for site in self._rotated_sites(job)]
            jobs += [Request(Arm(arm.model), corpus, stored_together(site)) for site in sites]
        return jobs

    def sizes(self, model: str) -> dict[str, list[int]]:
        """The number of units at each site, layer by layer."""
        anatomy = self._models.anatomy(model)
        widths = [layer.width for layer in anatomy.layout.layers]
        gated = [layer.width for layer in anatomy.layout.layers if layer.gated]
        compared = self._comparisons.compared_model(Arm(model))
        added = {kind: compared.sizes(kind) for kind in KINDS.files}
        return {PRE: widths, POST: widths, RESIDUAL: [anatomy.middle_width], UP: gated, **added}
