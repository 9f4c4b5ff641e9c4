"""One case before and after, and how it compares."""

from pytest_unineuron.baseline.comparison import compare
from tests.evidence.made import arm, evidence, share

KEY = ("heavy", "news", "m")
GOOD, BAD = arm(share(0.9)), arm(share(0.1))


def state(before, after, **options):
    """The entry of the only case."""
    (entry,) = compare(before, after, **options).entries
    return entry


def only(result, **options):
    """The evidence of a run with one case."""
    return evidence({KEY: result}, **options)
