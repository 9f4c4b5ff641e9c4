"""Text: where it comes from, what it is called, and how it is cut for a model.

To add a corpus, put a ``.jsonl`` file into ``bundled/`` or add a row here.
"""

from __future__ import annotations

from pathlib import Path

BUNDLED = Path(__file__).parent / "bundled"

GENERATED = {
    "stdlib": "pytest_unineuron.corpora.python_text:stdlib",
    "pydoc": "pytest_unineuron.corpora.python_text:pydoc",
}
"""Corpora that are read from the running Python; they change with its version, so no default run uses them."""


def corpus_names() -> list[str]:
    """Every corpus that is known by name."""
    return sorted(path.stem for path in BUNDLED.glob("*.jsonl")) + sorted(GENERATED)
