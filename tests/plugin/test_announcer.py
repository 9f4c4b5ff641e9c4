"""Lines that a test prints while it runs, to announce a computation that takes long."""

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


@pytest.mark.parametrize(
    ("arguments", "shown"), [((), True), (("-q",), False), pytest.param(("-n1",), False, marks=pytest.mark.slow)]
)
def test_an_announcement_is_a_line_of_its_own(pytester, arguments, shown):
    """It is shown although pytest captures output, but not with -q and not from a worker."""
    pytester.makepyfile(BODY.format(expected=shown))
    run = pytester.runpytest_subprocess(*arguments)
    run.assert_outcomes(passed=1)
    lines = run.stdout.lines
    assert ("a on prose: 12 blocks" in lines) == shown
    assert not any("captured" in line for line in lines)
