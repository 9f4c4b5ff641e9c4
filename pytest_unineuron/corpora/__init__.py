"""Corpora: texts by name, file or data set of the Hugging Face Hub, and the tokens that a model reads of them.

To add a corpus, put a ``.jsonl`` file into ``bundled/`` or add a row here.
"""

from __future__ import annotations

from pathlib import Path

BUNDLED = Path(__file__).parent / "bundled"

GENERATED = {
    "stdlib": "pytest_unineuron.corpora.python_text:stdlib",
    "pydoc": "pytest_unineuron.corpora.python_text:pydoc",
}
"""Corpora from the files of the running Python, as MODULE:FUNCTION. They change with its version, so no default run
reads them."""


def corpus_names() -> list[str]:
    """Return the names of all bundled and generated corpora."""
    return sorted(path.stem for path in BUNDLED.glob("*.jsonl")) + sorted(GENERATED)
