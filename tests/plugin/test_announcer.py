"""One line in the middle of a test, for what is going to take long."""

import pytest

BODY = """
from pytest_unineuron.plugin.progress import announcer

def test_one(request):
    print("captured")
    announce = announcer(request.config)
    if announce:
        announce("a on prose: 12 blocks")
    assert {expected} == bool(announce)
"""


@pytest.mark.parametrize(("arguments", "shown"), [((), True), (("-q",), False), (("-n1",), False)])
def test_a_line_is_announced(pytester, arguments, shown):
    """Past pytest's capture, on a line of its own; not when quiet, and not from a worker."""
    pytester.makepyfile(BODY.format(expected=shown))
    found = pytester.runpytest_subprocess(*arguments)
    found.assert_outcomes(passed=1)
    lines = found.stdout.lines
    assert ("a on prose: 12 blocks" in lines) == shown
    assert not any("captured" in line for line in lines)
