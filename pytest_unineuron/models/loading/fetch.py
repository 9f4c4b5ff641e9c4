"""The folder of a model, downloaded from the hub if it is not local, without any file that can run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from huggingface_hub import errors as hub_errors
from huggingface_hub import snapshot_download

from pytest_unineuron.errors import ModelError, first_line
from pytest_unineuron.models.loading.source import IGNORED_FILES, MODEL_FILES, check_folder

if TYPE_CHECKING:
    from pytest_unineuron.models.loading.source import Source

_OFFLINE = "it is not in the local cache and the hub cannot be reached (offline); fetch it once, or give a folder"


def fetch(source: Source) -> Path:
    """The local folder of a source, downloaded to the cache of the hub if necessary.

    Offline, the folder of a model that is cached in part; a missing file is an error when it is read. Raises
    ModelError if there is no folder, or none with a whole model.
    """
    if source.folder is not None:
        return source.folder
    try:
        folder = Path(
            snapshot_download(
                source.hub, revision=source.revision, allow_patterns=MODEL_FILES, ignore_patterns=IGNORED_FILES
            )
        )
    except hub_errors.LocalEntryNotFoundError as error:
        folder = Path(getattr(error, "snapshot_path", None) or ".")
        if folder == Path():
            raise ModelError(f"model {source.spec}: {_OFFLINE}") from None
    except Exception as error:  # networks and servers fail in their own ways
        raise ModelError(f"model {source.spec}: {_why_not_fetched(source, error)}") from None
    check_folder(source.spec, folder)
    return folder


def _why_not_fetched(source: Source, error: Exception) -> str:
    if isinstance(error, hub_errors.GatedRepoError):
        return "access to it is gated; accept its terms on its page and log in with `hf auth login`"
    if isinstance(error, hub_errors.RevisionNotFoundError):
        return f"the hub has no revision {source.revision!r} of it; its page lists all revisions"
    if isinstance(error, hub_errors.RepositoryNotFoundError):
        return "the hub has no such model, or it is private; check the name or log in with `hf auth login`"
    if isinstance(error, hub_errors.OfflineModeIsEnabled):
        return _OFFLINE
    return f"the hub could not deliver it: {first_line(error)}; try again, or give a folder"
