"""GPUs that are not there: tensors that say they are on one, and refuse to meet others as tensors on GPUs do.

Values are kept, and computed with, on the CPU. What is tested with it is where things are, not how fast or how
exactly a GPU computes. There is no autograd on these devices, so neurons must be found before a model is moved; nor
do slices of a parameter share its memory, by which experts are told apart.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import update_wrapper

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

ANYWHERE = {"aten::copy_", "aten::_to_copy", "aten::to", "aten::index", "aten::index_put_"}
"""What may read a tensor on another device; of an index, only the CPU's, which ``__getitem__`` sees to."""
CPU = torch.device("cpu")


class On(torch.Tensor):
    """A tensor ``held`` that is taken to be on ``device``."""

    @staticmethod
    def __new__(cls, held, device):
        return torch.Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=device,
        )

    def __init__(self, held, device):
        self.held = held

    def __repr__(self):
        return f"On({self.held!r}, {self.device})"

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return computed(function, args, kwargs or {})

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        with torch._C.DisableTorchFunctionSubclass():  # else what is on the CPU would be made an On as well
            return function(*args, **(kwargs or {}))

    # Without CUDA in torch itself these do not come by way of the dispatcher.

    def __float__(self):
        return float(self.held)

    def __int__(self):
        return int(self.held)

    def __bool__(self):
        return bool(self.held)

    def __index__(self):
        return self.held.__index__()

    def __invert__(self):
        return self.bitwise_not()

    def item(self):
        return self.held.item()

    def tolist(self):
        return self.held.tolist()

    def cpu(self):
        return self.held.clone()

    def numpy(self):
        raise TypeError("can't convert a tensor on a GPU to numpy")

    def nonzero(self):
        return On(self.held.nonzero(), self.device)

    def contiguous(self, **kwargs):
        return On(self.held.contiguous(**kwargs), self.device)

    def copy_(self, other, **kwargs):
        self.held.copy_(other.held if isinstance(other, On) else other)
        return self

    def __getitem__(self, at):
        return On(self.held[self._at(at)], self.device)

    def __setitem__(self, at, value):
        self.held[self._at(at)] = value.held if isinstance(value, On) else value

    def _at(self, at):
        for part in tree_flatten(at)[0]:
            if isinstance(part, torch.Tensor) and part.device not in (CPU, self.device):
                raise RuntimeError(f"an index on {part.device} into a tensor on {self.device}")
        return tree_map_only(On, lambda part: part.held, at)


class Simulated(TorchDispatchMode):
    """While open, tensors can be made on and moved to GPUs."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return computed(function, args, kwargs or {})


def computed(function, args, kwargs):
    """What an operation makes, on the device of its tensors or on the one it names."""
    name, flat = function._schema.name, tree_flatten((args, kwargs))[0]
    tensors = [part for part in flat if isinstance(part, torch.Tensor)]
    where = {tensor.device for tensor in tensors if tensor.dim() or isinstance(tensor, On)}
    if len(where) > 1 and name not in ANYWHERE:
        raise RuntimeError(f"{name}: expected all tensors to be on the same device, found {where}")
    asked = [part for part in flat if isinstance(part, torch.device)]
    first = tensors[:1] if name in ANYWHERE else tensors
    device = next(iter((*asked, *(t.device for t in first if _simulated(t)), CPU)))
    args, kwargs = tree_map_only(On, lambda part: part.held, (args, kwargs))
    args, kwargs = tree_map_only(torch.device, lambda _: CPU, (args, kwargs))
    found = function(*args, **kwargs)
    if device.type == "cpu":
        return tree_map_only(torch.Tensor, torch.clone, found) if any(map(_simulated, tensors)) else found
    known = {id(tensor.held): tensor for tensor in tensors if _simulated(tensor) and tensor.device == device}
    return tree_map_only(torch.Tensor, lambda part: known[id(part)] if id(part) in known else On(part, device), found)


def _simulated(tensor):
    return isinstance(tensor, On)


@contextmanager
def simulated(monkeypatch):
    """GPUs, as far as torch can be made to believe in them."""
    monkeypatch.setattr(torch.cuda, "_lazy_init", lambda: None)
    with torch.inference_mode(), Simulated():
        yield


def moved(module, device):
    """A module with everything in it on a device, but for what was moved before."""
    for part in module.modules():
        for kept in (part._parameters, part._buffers):
            for name, tensor in kept.items():
                if tensor is not None and not _simulated(tensor.data):
                    on = On(tensor.data, torch.device(device))
                    kept[name] = torch.nn.Parameter(on, requires_grad=False) if kept is part._parameters else on
    return module


def spread(model, devices):
    """A model whose blocks lie on several devices, in order; like accelerate, each block fetches what it is given."""
    blocks = max((m for m in model.modules() if isinstance(m, torch.nn.ModuleList)), key=len)
    inside = {part for block in blocks for part in block.modules()}
    for number, block in enumerate(blocks):
        _fetches(moved(block, there := devices[number * len(devices) // len(blocks)]), there)
    for part in moved(model, devices[0]).modules():
        if part not in inside and part is not blocks:
            _fetches(part, devices[0])
    return model


def _fetches(module, device):
    forward = module.forward

    def fetched(*args, **kwargs):
        args, kwargs = tree_map_only(torch.Tensor, lambda tensor: tensor.to(device), (args, kwargs))
        return forward(*args, **kwargs)

    module.forward = update_wrapper(fetched, forward)
