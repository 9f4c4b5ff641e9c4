"""Parts of messages about models that cannot be used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import transformers

from pytest_unineuron.errors import ModelError

if TYPE_CHECKING:
    from pytest_unineuron.models.loading.source import Source


def own_code_error(source: Source, what: str) -> ModelError:
    """The error for a model whose part ``what`` would need code from its own repository (auto_map)."""
    return ModelError(
        f"model {source.spec}: {what} is not part of transformers {transformers.__version__} and its repository's own "
        "code (auto_map) is never run; name a revision or a conversion that transformers can load by itself"
    )
