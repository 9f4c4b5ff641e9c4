"""Values from a corner of every matrix of a model, by which copies are recognised in whatever file or precision.

Corners of matrices of the same shape are compared, in either orientation and whatever their names. Two matrices are the
same if they differ by little beside their size. Rounding to four bits, the coarsest in use, makes a difference of about
a tenth; that of two training runs is larger than either. A model that was trained on for a while from another one also
differs by little, and shares its source as well.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from transformers import PreTrainedModel

    from pytest_unineuron.models.loading.source import Source

    Shape = tuple[int, int]
    Samples = dict[Shape, list[NDArray[np.float64]]]

SIDE = 64
"""The rows and columns of a corner, where a matrix has so many."""
WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
"""The precisions in safetensors that are compared, by their names there, and the bytes of a value."""
TOLERANCE = 0.15
"""The norm of the difference of two corners, over that of the first, up to which they are the same."""
COPIED = 0.5
"""The share of same matrices beyond which a model is a copy.

Two runs may share some, such as fixed positions or those that start from set values: 0.4 of an untrained RWKV.
"""


def samples_of_model(model: PreTrainedModel) -> Samples:
    """Return the corners of the matrices of a model in memory, by shape; not of packed weights with their own class."""
    import torch

    found: Samples = defaultdict(list)
    for parameter in model.parameters():
        if parameter.ndim > 1 and not parameter.is_meta and type(parameter.data) is torch.Tensor:
            matrix = parameter.detach().flatten(1)
            rows, columns = matrix.shape
            _add(found, (rows, columns), matrix[:SIDE, :SIDE].double().cpu().numpy())
    return found


def samples_of_files(source: Source) -> Samples:
    """Return the corners of the matrices in the files of a local model, by shape. Raises OSError, ValueError."""
    found: Samples = defaultdict(list)
    for shape, read in _stored(source):
        _add(found, shape, read()[:SIDE, :SIDE])
    return found


def shapes_in_files(source: Source) -> Counter[Shape]:
    """Return how many matrices of each shape the files of a local model hold. Raises OSError, ValueError."""
    return Counter((min(shape), max(shape)) for shape, _ in _stored(source))


def share_same(one: Samples, other: Samples) -> float:
    """Return the share of the matrices of either model that the other one has too: the larger one of both.

    They differ between a model and the same one with fused projections. Constant matrices are left out.
    """
    return max(_share_found_in(one, other), _share_found_in(other, one))


def _share_found_in(one: Samples, other: Samples) -> float:
    """The share of the matrices of one model that another one has too; 0 for a model of constant ones."""
    import numpy as np

    same, count = 0, 0
    for shape, corners in one.items():
        known = other.get(shape, [])
        for corner in corners:
            if corner.std() > 0:
                limit, count = TOLERANCE * np.linalg.norm(corner), count + 1
                same += any(np.linalg.norm(corner - each) <= limit for each in known)
    return same / count if count else 0.0


def _add(found: Samples, shape: Shape, corner: NDArray[Any]) -> None:
    """Add a corner of a matrix, turned so that the matrix has no more rows than columns."""
    if corner.size:
        rows, columns = shape
        turned = corner if rows <= columns else corner.T
        found[min(shape), max(shape)].append(turned.astype("float64"))


def _stored(source: Source) -> Iterator[tuple[Shape, Callable[[], NDArray[Any]]]]:
    """The shapes of the matrices in the files of a model, each with a function that reads its values."""
    folder = source.folder
    if folder is None:
        return
    if source.gguf:
        yield from _stored_in_gguf(folder / source.gguf)
        return
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length)) if length < path.stat().st_size else {}
        for name, entry in header.items():
            if name != "__metadata__" and len(entry["shape"]) > 1 and entry["dtype"] in WIDTHS:
                shape = (entry["shape"][0], math.prod(entry["shape"][1:]))
                yield shape, partial(_read, path, 8 + length + entry["data_offsets"][0], entry["dtype"], shape)


def _stored_in_gguf(path: Path) -> Iterator[tuple[Shape, Callable[[], NDArray[Any]]]]:
    """The same for a GGUF file; nothing without the package, without which the model cannot be loaded either."""
    if find_spec("gguf") is None:
        return
    from gguf import GGUFReader, dequantize

    for tensor in GGUFReader(path).tensors:
        if len(tensor.shape) > 1:
            columns, rows = int(tensor.shape[0]), math.prod(map(int, tensor.shape[1:]))
            yield (rows, columns), partial(dequantize, tensor.data, tensor.tensor_type)


def _read(path: Path, start: int, dtype: str, shape: Shape) -> NDArray[Any]:
    """The beginning of each of the first rows of a matrix, whose values begin at byte ``start`` of a file."""
    import numpy as np

    rows, columns = shape
    width = WIDTHS[dtype]
    data = np.memmap(path, dtype=np.uint8, mode="r", offset=start, shape=(rows, columns * width))
    raw = np.ascontiguousarray(data[:SIDE, : SIDE * width])
    if dtype == "BF16":  # the upper half of a float32
        return (raw.view("<u2").astype("<u4") << 16).view("<f4")
    return raw.view(f"<f{width}")
