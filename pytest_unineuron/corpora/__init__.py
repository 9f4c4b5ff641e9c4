"""Corpora: texts by name, file or data set of the Hugging Face Hub, and the tokens that a model reads of them.

To add a corpus here, put a ``.jsonl`` file into ``bundled/`` or add a row to ``GENERATED``. Others are declared with
``extend.corpus``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytest_unineuron.extend.table import Table

BUNDLED = Path(__file__).parent / "bundled"

BUILT_IN: dict[str, Any] = {
    "stdlib": "pytest_unineuron.corpora.python_text:stdlib",
    "pydoc": "pytest_unineuron.corpora.python_text:pydoc",
}
GENERATED = Table("corpus", BUILT_IN)
"""Functions that make corpora, or MODULE:FUNCTION. Ours are from the files of the running Python; they change with its
version, so no default run reads them."""


def bundled_names() -> list[str]:
    """Return the names of the corpora that are files of this package."""
    return sorted(path.stem for path in BUNDLED.glob("*.jsonl"))


def corpus_names() -> list[str]:
    """Return the names of all bundled and generated corpora."""
    return bundled_names() + sorted(GENERATED)
