"""A sweep with one consumer, for tests that need no more."""

from pytest_unineuron.activations.sweep import StatisticsConsumer, sweep
from pytest_unineuron.distributed.single_process import compute_uncached


def sweep_blocks(model, layout, blocks, *, batch, statistics=None, transform=None, compute_part=compute_uncached):
    """The statistics of a model on blocks, with at most ``batch`` positions at a time."""
    consumer = StatisticsConsumer(blocks, model.device, statistics=statistics, transform=transform)
    (result,) = sweep(model, layout, blocks.batches(batch), [consumer], compute_part=compute_part)
    return result
