"""A progress bar where somebody is watching."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tqdm import tqdm

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest


class _Terminal:
    """pytest's own terminal as a file: what is written there is seen although output is captured."""

    def __init__(self, reporter: Any) -> None:
        self._reporter = reporter

    def write(self, text: str) -> int:
        self._reporter.write(text, flush=True)
        return len(text)

    def flush(self) -> None:
        self._reporter.flush()


def bar(config: pytest.Config) -> Callable[[str], Callable[[Any, int], Any]] | None:
    """Makes a bar with a title for batches, or None in a worker, without a terminal, or when quiet."""
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or not reporter.isatty or config.option.verbose < 0 or hasattr(config, "workerinput"):
        return None
    terminal: Any = _Terminal(reporter)

    def titled(title: str) -> Callable[[Any, int], Any]:
        def wrap(batches: Any, total: int) -> Any:
            # One line below pytest's own, and gone when done.
            return tqdm(batches, desc=title, total=total, file=terminal, leave=False, position=1, delay=0.5,
                        unit="batch", ncols=80, ascii=True)  # fmt: skip

        return wrap

    return titled
