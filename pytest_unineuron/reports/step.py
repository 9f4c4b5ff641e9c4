"""The GitHub step in which this process runs: the file for its summary, and the place of the repository."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_unineuron.reports.github import MAX_SUMMARY_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


@dataclass(frozen=True)
class GitHubStep:
    """The paths that the runner names in the environment; each is None if it does not name it."""

    summary: Path | None
    workspace: Path | None

    @classmethod
    def of(cls, environment: Mapping[str, str] = os.environ) -> GitHubStep | None:
        """The step; None outside of a GitHub job."""
        if environment.get("GITHUB_ACTIONS") != "true":
            return None
        named = [environment.get(name) for name in ("GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE")]
        summary, workspace = (Path(text) if text else None for text in named)
        return cls(summary, workspace)

    def folder(self, root: Path) -> str | None:
        """The path of pytest's root folder within the repository; None if it is outside."""
        if self.workspace is None:
            return None
        try:
            return root.resolve().relative_to(self.workspace.resolve()).as_posix()
        except (OSError, ValueError):
            return None

    def append_summary(self, render: Callable[[int], str]) -> str:
        """Append the text that ``render`` returns for the number of bytes left. Returns the error, or an empty text."""
        if self.summary is None:
            return ""
        try:
            with self.summary.open("ab+") as file:
                end = file.seek(0, os.SEEK_END)
                file.seek(max(end - 1, 0))
                start = b"" if file.read(1) in (b"", b"\n") else b"\n"
                text = render(MAX_SUMMARY_BYTES - end - len(start)).encode("utf-8", "backslashreplace")
                file.write(start + text if text else b"")
        except Exception as error:  # an error in the summary must not end the run
            return f"the job summary could not be written ({getattr(error, 'strerror', None) or error})"
        return "" if text else "the job summary is full: nothing was added to it"

    def print_commands(self, commands: Iterable[object]) -> None:
        """Print workflow commands for the runner to standard output, each on a line of its own."""
        text = "".join(f"\n{command}" for command in commands)
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
        try:
            print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)
        except (OSError, ValueError):
            return  # standard output is closed
