"""Simulated GPUs: tensors that report a GPU as their device, and fail where tensors on different devices would.

Values are stored and computed on the CPU, so tests show on which device a tensor is, and nothing about the speed or
precision of a GPU. There is no autograd on these devices, so neurons must be found before a model is moved. Slices of a
parameter do not share its memory, so experts cannot be distinguished by it.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import update_wrapper

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

ACROSS_DEVICES = {"aten::copy_", "aten::_to_copy", "aten::to", "aten::index", "aten::index_put_"}
"""Operations that may read a tensor on another device. An index must be on the CPU, which ``__getitem__`` checks."""
CPU = torch.device("cpu")


class GPUTensor(torch.Tensor):
    """A tensor that reports ``device`` as its device, and whose values ``on_cpu`` are on the CPU."""

    @staticmethod
    def __new__(cls, on_cpu, device):
        return torch.Tensor._make_wrapper_subclass(
            cls,
            on_cpu.shape,
            strides=on_cpu.stride(),
            storage_offset=on_cpu.storage_offset(),
            dtype=on_cpu.dtype,
            device=device,
        )

    def __init__(self, on_cpu, device):
        self.on_cpu = on_cpu

    def __repr__(self):
        return f"GPUTensor({self.on_cpu!r}, {self.device})"

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return dispatch(function, args, kwargs or {})

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        with torch._C.DisableTorchFunctionSubclass():  # otherwise results on the CPU would be of this class too
            return function(*args, **(kwargs or {}))

    # A PyTorch without CUDA does not dispatch these methods.

    def __float__(self):
        return float(self.on_cpu)

    def __int__(self):
        return int(self.on_cpu)

    def __bool__(self):
        return bool(self.on_cpu)

    def __index__(self):
        return self.on_cpu.__index__()

    def __invert__(self):
        return self.bitwise_not()

    def item(self):
        return self.on_cpu.item()

    def tolist(self):
        return self.on_cpu.tolist()

    def cpu(self):
        return self.on_cpu.clone()

    def numpy(self):
        raise TypeError("can't convert a tensor on a GPU to numpy")

    def nonzero(self):
        return GPUTensor(self.on_cpu.nonzero(), self.device)

    def contiguous(self, **kwargs):
        return GPUTensor(self.on_cpu.contiguous(**kwargs), self.device)

    def copy_(self, other, **kwargs):
        self.on_cpu.copy_(other.on_cpu if isinstance(other, GPUTensor) else other)
        return self

    def __getitem__(self, at):
        return GPUTensor(self.on_cpu[self._at(at)], self.device)

    def __setitem__(self, at, value):
        self.on_cpu[self._at(at)] = value.on_cpu if isinstance(value, GPUTensor) else value

    def _at(self, at):
        for part in tree_flatten(at)[0]:
            if isinstance(part, torch.Tensor) and part.device not in (CPU, self.device):
                raise RuntimeError(f"an index on {part.device} into a tensor on {self.device}")
        return tree_map_only(GPUTensor, lambda part: part.on_cpu, at)


class SimulatedGPUs(TorchDispatchMode):
    """A mode in which tensors can be made on simulated GPUs and moved to them."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return dispatch(function, args, kwargs or {})


def dispatch(function, args, kwargs):
    """The result of an operation, on the device of its tensors or on the device that it names."""
    name, flat = function._schema.name, tree_flatten((args, kwargs))[0]
    tensors = [part for part in flat if isinstance(part, torch.Tensor)]
    where = {tensor.device for tensor in tensors if tensor.dim() or isinstance(tensor, GPUTensor)}
    if len(where) > 1 and name not in ACROSS_DEVICES:
        raise RuntimeError(f"{name}: expected all tensors to be on the same device, found {where}")
    named = [part for part in flat if isinstance(part, torch.device)]
    first = tensors[:1] if name in ACROSS_DEVICES else tensors
    device = next(iter((*named, *(t.device for t in first if _simulated(t)), CPU)))
    args, kwargs = tree_map_only(GPUTensor, lambda part: part.on_cpu, (args, kwargs))
    args, kwargs = tree_map_only(torch.device, lambda _: CPU, (args, kwargs))
    found = function(*args, **kwargs)
    if device.type == "cpu":
        return tree_map_only(torch.Tensor, torch.clone, found) if any(map(_simulated, tensors)) else found
    known = {id(tensor.on_cpu): tensor for tensor in tensors if _simulated(tensor) and tensor.device == device}
    return tree_map_only(
        torch.Tensor, lambda part: known[id(part)] if id(part) in known else GPUTensor(part, device), found
    )


def _simulated(tensor):
    return isinstance(tensor, GPUTensor)


@contextmanager
def simulated_gpus(monkeypatch):
    """Open the mode, with the parts of PyTorch patched that would need a driver."""
    monkeypatch.setattr(torch.cuda, "_lazy_init", lambda: None)
    with torch.inference_mode(), SimulatedGPUs():
        yield


def move_to(module, device):
    """Move everything in a module that is not on a simulated GPU yet to a device."""
    for part in module.modules():
        for kept in (part._parameters, part._buffers):
            for name, tensor in kept.items():
                if tensor is not None and not _simulated(tensor.data):
                    on = GPUTensor(tensor.data, torch.device(device))
                    kept[name] = torch.nn.Parameter(on, requires_grad=False) if kept is part._parameters else on
    return module


def spread_over(model, devices):
    """Spread the blocks of a model over devices in order. As in accelerate, each block fetches its inputs."""
    blocks = max((m for m in model.modules() if isinstance(m, torch.nn.ModuleList)), key=len)
    inside = {part for block in blocks for part in block.modules()}
    for number, block in enumerate(blocks):
        _fetches(move_to(block, there := devices[number * len(devices) // len(blocks)]), there)
    for part in move_to(model, devices[0]).modules():
        if part not in inside and part is not blocks:
            _fetches(part, devices[0])
    return model


def _fetches(module, device):
    forward = module.forward

    def fetched(*args, **kwargs):
        args, kwargs = tree_map_only(torch.Tensor, lambda tensor: tensor.to(device), (args, kwargs))
        return forward(*args, **kwargs)

    module.forward = update_wrapper(fetched, forward)
