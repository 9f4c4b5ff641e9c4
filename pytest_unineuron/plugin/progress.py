"""Progress bars and announcements on the terminal, in the middle of a test."""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pytest

DELAY_SECONDS, INTERVAL_SECONDS = 0.5, 0.1
"""The time before a bar appears, and between two drawings of it."""


class Bar:
    """Draws a progress bar in the line below pytest's own, and moves the cursor back to where pytest writes.

    Writes to the controlling terminal, since pytest captures the output of a test and counts the columns of its own
    output. ``column`` returns the column in which pytest writes, ``planned`` the number of passes of the whole run.
    """

    def __init__(self, terminal: Any, column: Callable[[], int], planned: Callable[[], int]) -> None:
        self._terminal = terminal
        self._column = column
        self._planned = planned
        self._passes = 0
        self._seconds = 0.0

    def draw(self, text: str) -> None:
        """Show ``text`` in the line below; an empty text clears it."""
        column = self._column()
        back = f"\x1b[A\r\x1b[{column}C" if column else "\x1b[A\r"
        self._terminal.write(f"\n\r{text}\x1b[K{back}")
        self._terminal.flush()

    def wrap_batches(self, title: str, *, part: bool = False) -> Callable[[Sequence[Any]], Iterator[Any]]:
        """Return a function that iterates over the batches of a pass and draws a bar meanwhile.

        A pass over a small ``part`` of a text is none of those that are planned.
        """

        def iterate(batches: Sequence[Any]) -> Iterator[Any]:
            start = drawn = time.monotonic()
            for done, batch in enumerate(batches):
                now = time.monotonic()
                if now - start > DELAY_SECONDS and now - drawn > INTERVAL_SECONDS:
                    drawn = now
                    rest = "" if part else self._rest(done / len(batches), now - start)
                    self.draw(self._meter(title, done, len(batches), now - start, rest))
                yield batch
            if not part:
                self._passes += 1
                self._seconds += time.monotonic() - start
            if drawn != start:
                self.draw("")

        return iterate

    def _rest(self, share: float, seconds: float) -> str:
        """The number of this pass, and the time left for all that are planned, if these go on as before."""
        passes, planned = self._passes + share, self._planned()
        left = (self._seconds + seconds) / passes * (planned - passes) if 0 < passes < planned else 0.0
        return f" pass {self._passes + 1} of {planned}, {tqdm.format_interval(left)} left" if left else ""

    def _meter(self, title: str, done: int, batches: int, seconds: float, rest: str) -> str:
        """The progress of this pass, and what comes behind it."""
        form = "{l_bar}{bar}| {n_fmt}/{total_fmt}"
        meter: str = tqdm.format_meter(done, batches, seconds, ncols=79 - len(rest), prefix=title, bar_format=form)
        return meter + rest


def announcer(config: pytest.Config) -> Callable[[str], None] | None:
    """Return a function that prints one line in the middle of a test, also if the output is no terminal.

    Returns None in a worker, without a terminal reporter, or with ``-q``.
    """
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or config.option.verbose < 0 or hasattr(config, "workerinput"):
        return None
    capture: Any = config.pluginmanager.get_plugin("capturemanager")

    def announce(line: str) -> None:
        with capture.global_and_fixture_disabled() if capture else nullcontext():
            reporter.ensure_newline()
            reporter.write_line(line)

    return announce


def bar(config: pytest.Config, planned: Callable[[], int]) -> Bar | None:
    """Return a bar for this run; None in a worker, without a terminal, or with ``-q``.

    ``planned`` returns the number of passes of the whole run.
    """
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    visible = reporter is not None and reporter.isatty and config.option.verbose >= 0
    if not visible or hasattr(config, "workerinput"):
        return None
    try:
        terminal = open("/dev/tty", "w", encoding="utf-8")  # noqa: PTH123, SIM115 - a device, open until the run ends
    except OSError:
        return None
    config.add_cleanup(terminal.close)
    writer = config.get_terminal_writer()
    return Bar(terminal, lambda: writer.width_of_current_line, planned)
