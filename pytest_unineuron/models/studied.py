"""The models the finding was made on. Asking them whether it holds in a new model answers nothing.

A row is a pattern of names (as in fnmatch) and what the models are.
"""

from __future__ import annotations

from fnmatch import fnmatch

STUDIED = (
    ("stanford-crfm/*-gpt2-small-*", "GPT2-small of the paper (Gurnee et al. 2024, appendix A)"),
    ("stanford-crfm/*-gpt2-medium-*", "GPT2-medium of the paper (Gurnee et al. 2024, appendix A)"),
    ("EleutherAI/pythia-160m*", "Pythia-160m of the paper (Gurnee et al. 2024, appendix A)"),
    ("nano:gpt2-*", "the zoo's stand-in for the paper's GPT-2 models"),
)


def reason(spec: str) -> str:
    """Why a model is not new, or empty if it is. An untrained model was never studied.

    >>> reason("EleutherAI/pythia-410m"), bool(reason("EleutherAI/pythia-160m@step143000"))
    ('', True)
    """
    for pattern, what in STUDIED:
        if fnmatch(spec.partition("@")[0], pattern):
            return f"not a new model: {what}"
    return ""
