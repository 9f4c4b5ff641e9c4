"""The step of a GitHub job that this process is: where its summary goes, and where the repository lies."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_unineuron.reports.github import LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


@dataclass(frozen=True)
class Step:
    """What the runner says in the environment. Both are None where it does not say."""

    summary: Path | None
    workspace: Path | None

    @classmethod
    def of(cls, environment: Mapping[str, str] = os.environ) -> Step | None:
        """The step, or None where this is no job of GitHub."""
        if environment.get("GITHUB_ACTIONS") != "true":
            return None
        named = [environment.get(name) for name in ("GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE")]
        summary, workspace = (Path(text) if text else None for text in named)
        return cls(summary, workspace)

    def folder(self, root: Path) -> str | None:
        """Where pytest's root folder lies in the repository; None if it does not lie there."""
        if self.workspace is None:
            return None
        try:
            return root.resolve().relative_to(self.workspace.resolve()).as_posix()
        except (OSError, ValueError):
            return None

    def append(self, text: Callable[[int], str]) -> str:
        """Add to the summary what ``text`` makes of the bytes that are left. Returns what went wrong, if anything."""
        if self.summary is None:
            return ""
        try:
            with self.summary.open("ab+") as file:
                end = file.seek(0, os.SEEK_END)
                file.seek(max(end - 1, 0))
                start = b"" if file.read(1) in (b"", b"\n") else b"\n"
                made = text(LIMIT - end - len(start)).encode("utf-8", "backslashreplace")
                file.write(start + made if made else b"")
        except Exception as error:  # a summary that fails must not take the run along
            return f"the job summary could not be written ({getattr(error, 'strerror', None) or error})"
        return "" if made else "the job summary is full: nothing was added to it"

    def say(self, commands: Iterable[object]) -> None:
        """Give the runner its workflow commands: on standard output, each on a line of its own."""
        text = "".join(f"\n{command}" for command in commands)
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
        try:
            print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)
        except (OSError, ValueError):
            return  # nobody listens
