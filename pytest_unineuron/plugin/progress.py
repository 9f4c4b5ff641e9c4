"""A progress bar where somebody is watching."""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pytest

DELAY, EVERY = 0.5, 0.1
"""Seconds before a bar appears, and between two drawings of it."""


class Bar:
    """Draws one line below pytest's own and puts the cursor back, so that dots go on where they were.

    Writes to the controlling terminal: pytest's output is captured while a test runs, and pytest keeps count
    of what it wrote to fill its lines.
    """

    def __init__(self, terminal: Any, column: Callable[[], int]) -> None:
        self._terminal = terminal
        self._column = column

    def draw(self, text: str) -> None:
        """Show ``text`` on the line below; an empty text clears it."""
        column = self._column()
        back = f"\x1b[A\r\x1b[{column}C" if column else "\x1b[A\r"
        self._terminal.write(f"\n\r{text}\x1b[K{back}")
        self._terminal.flush()

    def over(self, title: str) -> Callable[[Sequence[Any]], Iterator[Any]]:
        """What wraps the batches of one sweep."""

        def wrap(batches: Sequence[Any]) -> Iterator[Any]:
            start = drawn = time.monotonic()
            for done, batch in enumerate(batches):
                now = time.monotonic()
                if now - start > DELAY and now - drawn > EVERY:
                    drawn = now
                    meter = tqdm.format_meter(done, len(batches), now - start, ncols=79, prefix=title, unit="batch")
                    self.draw(meter)
                yield batch
            if drawn != start:
                self.draw("")

        return wrap


def announcer(config: pytest.Config) -> Callable[[str], None] | None:
    """What tells people one line in the middle of a test; None in a worker, without a terminal reporter, or when quiet.

    Unlike a bar it does not ask whether anybody watches: a log is read afterwards.
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


def bar(config: pytest.Config) -> Bar | None:
    """A bar for this run; None in a worker, without a terminal, or when quiet."""
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    watched = reporter is not None and reporter.isatty and config.option.verbose >= 0
    if not watched or hasattr(config, "workerinput"):
        return None
    try:
        terminal = open("/dev/tty", "w", encoding="utf-8")  # noqa: PTH123, SIM115 - a device, open to the end
    except OSError:
        return None
    config.add_cleanup(terminal.close)
    writer = config.get_terminal_writer()
    return Bar(terminal, lambda: writer.width_of_current_line)
