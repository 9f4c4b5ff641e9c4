"""Damages of files: to their bytes, their lines, and the data in them.

Hypothesis draws short plans, such as ``[("swap", 17, 4711, 5)]``, which apply to any file, so that a failing example
can be printed on one line.
"""

import copy
import json

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

STRANGE = (
    None,
    True,
    False,
    0,
    -1,
    1e-320,
    1.7e308,
    10**300,
    -(10**30),
    0.5,
    "",
    "NaN",
    "PASS",
    "FAIL",
    "x" * 5000,
    "\ud800",
    "a\nb",
    "\0",
    [],
    [None],
    {},
    {"": None},
    float("nan"),
    float("inf"),
    float("-inf"),
)
"""Values that replace an expected one."""
MARKS = (
    b"",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\0",
    b"\x80",
    b"NaN",
    b"1e999",
    b"{",
    b"}",
    b'"',
    b",",
    b"\n",
    b"[" * 2000,
    b'{"a":' * 2000,
)
"""Bytes that are inserted into a file."""
LINES = (b"\n", b"{}\n", b"null\n", b'{"event": {}, "sum": ""}\n', b"\xff\n")
"""Lines that are inserted into a file."""
NAMES = ("", "x", "untrained.2", "untrained.x", "subject")
"""New names of renamed keys."""
ENCODINGS = ("utf-16", "utf-32", "utf-8-sig", "latin-1")

DECISIVE_KEYS = (
    "value",
    "above",
    "below",
    "low",
    "high",
    "needed",
    "outcome",
    "standing",
    "reason",
    "measurements",
    "null",
    "controls",
    "nodeid",
    "verdict",
    "bounds",
    "spread",
    "made_from",
    "subject",
    "settings",
)
"""Keys of values from which a verdict follows; half of all damage to data is done to these."""

_place = st.integers(0, 2**20)


def _plans(kinds, most):
    return st.lists(st.tuples(st.sampled_from(kinds), _place, _place, st.integers(0, 63)), min_size=1, max_size=most)


of_bytes = _plans(("cut", "flip", "flip", "put", "drop", "again", "encode", "empty"), 2)
of_lines = _plans(("drop", "again", "swap", "join", "flip", "cut", "put"), 3)
of_data = _plans(("strange", "strange", "swap", "copy", "delete", "again", "rename", "reverse", "nudge"), 2)


def fuzz_settings(examples):
    """Hypothesis settings for tests that write a file for each example."""
    return settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))


def bytes_after(whole, plan):
    """The bytes of a file after the damages in a plan."""
    data = bytearray(whole)
    for kind, one, other, which in plan:
        at, to = sorted((one % (len(data) + 1), other % (len(data) + 1)))
        if kind == "cut":
            del data[at:]
        elif kind == "flip" and data:
            data[at % len(data)] ^= 1 << which % 8
        elif kind == "put":
            data[at:at] = MARKS[which % len(MARKS)]
        elif kind == "drop":
            del data[at:to]
        elif kind == "again":
            data[at:at] = data[at : min(to, at + 2000)]
        elif kind == "encode":
            text = data.decode("utf-8", "replace")
            data = bytearray(text.encode(ENCODINGS[which % len(ENCODINGS)], "replace"))
        elif kind == "empty":
            data.clear()
    return bytes(data)


def lines_after(whole, plan):
    """The lines of a file after a plan: dropped, repeated, moved, joined, flipped, cut off, or inserted."""
    lines = whole.splitlines(keepends=True)
    for kind, one, other, which in plan:
        at, to = (one % len(lines), other % len(lines)) if lines else (0, 0)
        if not lines or kind == "put":
            lines.insert(at, LINES[which % len(LINES)])
        elif kind == "drop":
            del lines[at]
        elif kind == "again":
            lines.insert(to, lines[at])
        elif kind == "swap":
            lines[at], lines[to] = lines[to], lines[at]
        elif kind == "join":
            lines[at] = lines[at].rstrip(b"\n")
        elif kind == "flip":
            lines[at] = bytes_after(lines[at], [("flip", other, other, which)])
        else:
            lines[at] = lines[at][: other % (len(lines[at]) + 1)]
    return b"".join(lines)


def data_after(whole, plan):
    """A copy of nested data in which things were deleted, repeated, renamed, swapped or replaced."""
    data = copy.deepcopy(whole)
    for kind, one, two, which in plan:
        there = _places(data)
        if not there:
            return data
        decisive = [(each, key) for each, key in there if key in DECISIVE_KEYS]
        there = decisive if decisive and which >= 32 else there
        (where, key), (other, other_key) = there[one % len(there)], there[two % len(there)]
        value = where[key]
        if kind == "strange":
            where[key] = copy.deepcopy(STRANGE[which % len(STRANGE)])
        elif kind == "swap":
            where[key], other[other_key] = copy.deepcopy(other[other_key]), copy.deepcopy(value)
        elif kind == "copy":
            where[key] = copy.deepcopy(other[other_key])
        elif kind == "delete":
            del where[key]
        elif kind == "again" and isinstance(where, list):
            where.append(copy.deepcopy(value))
        elif kind == "rename" and isinstance(where, dict):
            where[NAMES[which % len(NAMES)]] = where.pop(key)
        elif kind == "reverse" and isinstance(value, list):
            value.reverse()
        elif kind == "nudge" and isinstance(value, float | int) and not isinstance(value, bool):
            where[key] = (-value, value + 0.5, value - 0.5, value * 10)[which % 4]
    return data


def _places(data):
    """Every container of nested data with one of its keys or positions."""
    found, waiting = [], [data]
    while waiting:
        each = waiting.pop()
        keys = list(each) if isinstance(each, dict) else range(len(each)) if isinstance(each, list) else ()
        for key in keys:
            found.append((each, key))
            waiting.append(each[key])
    return found


def to_bytes(data):
    """The data as the bytes of a file, with a new digest if possible, so that the digest does not show the damage."""
    from pytest_unineuron.evidence.strict_json import add_digest

    try:
        return json.dumps(add_digest(data)).encode("utf-8")
    except (ValueError, TypeError, RecursionError):
        return json.dumps(data, default=str).encode("utf-8")
