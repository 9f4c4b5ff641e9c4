"""Several processes that share the batches of a forward pass, on one machine or on many, and add up their results.

They are started by torchrun, or by anything else that sets its variables (``RANK``, ``WORLD_SIZE``, ``MASTER_ADDR``,
``MASTER_PORT``), such as srun. torchrun stops all processes when it loses one; without it, whoever waits for a process
that is gone is told so by ``torch.distributed``.
"""

from __future__ import annotations

import io
import os
import socket
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.distributed as dist

from pytest_unineuron.distributed.single_process import SingleProcess, Sums
from pytest_unineuron.errors import OptionError, RankLost, UnineuronError, first_line
from pytest_unineuron.system.machine import chosen_gpu

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

RANK_TIMEOUT = "UNINEURON_RANK_TIMEOUT"
"""Environment variable: seconds to wait for the other processes at each exchange (default: half an hour)."""
DEFAULT_TIMEOUT = 1800.0
PROBE_SECONDS = 1
"""Seconds in which another process is asked whether it is there, after an exchange has failed."""
BARRIER_FAILED = "failed to pass monitoredBarrier"
"""Words of torch about a process that did not come to a barrier."""
RERUN = "parts that were finished are kept: start the same command again"
SHIFT = "shift"
"""Tensors whose name contains this are what sums are about; all others are summed over processes."""


class PeerFailed(UnineuronError):  # noqa: N818 - named as RankLost is
    """Another process has failed at the task that all of them do."""


class TorchProcessGroup(SingleProcess):
    """This process, rank ``index`` of ``count``, and the others.

    Every process has to call the same methods in the same order. Methods raise RankLost if another process is gone,
    and PeerFailed with its message if another has failed at the task.
    """

    def __init__(self) -> None:
        """Raises OptionError if the variables make no sense, or the other processes cannot be found."""
        self._timeout = timedelta(seconds=_timeout())
        gpu = torch.cuda.is_available()
        self._device = chosen_gpu(torch.cuda.device_count() if gpu else 0)
        try:
            dist.init_process_group("cpu:gloo,cuda:nccl" if gpu else "gloo", timeout=self._timeout)
        except (ValueError, RuntimeError) as error:
            raise OptionError(
                f"RANK={os.environ.get('RANK')} is set, but the group of processes could not be initialised: "
                f"{first_line(error)}; start them with torchrun, or unset RANK"
            ) from None
        self.index, self.count = dist.get_rank(), dist.get_world_size()
        self._control = dist.new_group(backend="gloo", timeout=self._timeout)
        self._places = self._exchange("the start", f"on {socket.gethostname()}, process {os.getpid()}")

    def broadcast(self, make: Callable[[], T]) -> T:
        """Return in all processes the value that ``make`` returns in the first one."""
        own = _serialised(make()) if self.index == 0 else None
        self._meet("the result of rank 0")
        made = [own]
        with self._loss_explained("the result of rank 0"):
            dist.broadcast_object_list(made, src=0, group=self._control)
        received: T = self._deserialised(made[0])
        return received

    def all_gather(self, own: T) -> list[T]:
        """Return in all processes the values of all of them, in the order of ranks."""
        self._meet("the results of all ranks")
        sent = self._exchange("the results of all ranks", _serialised(own))
        return [self._deserialised(each) for each in sent]

    def all_reduce(self, own: Sums | None, device: Any) -> Sums:
        """The sum over all processes, in all of them. ``own`` is None where there was nothing to do."""
        shifts = None if own is None else [part.cpu() for name, part in own.as_tensors().items() if SHIFT in name]
        kind: Any  # the class of the sums: a process that had nothing to do does not know it
        kind, first = next(each for each in self.all_gather((type(own), shifts)) if each[1])
        common = [shift.to(device) for shift in first or ()]
        here = kind.zeros(*common) if own is None else own
        same = own is None or all(map(torch.equal, shifts or (), first or ()))
        tensors = (here if same else here.about(*common)).as_tensors()
        self._meet("the products of all ranks")
        with self._loss_explained("the products of all ranks"):
            for name, part in tensors.items():
                if SHIFT not in name:
                    tensors[name] = part.to(device).contiguous()
                    dist.all_reduce(tensors[name])
        summed: Sums = kind.from_tensors(tensors)
        return summed

    @contextmanager
    def task(self) -> Iterator[None]:
        """One task that all processes do. If one of them fails in it, all do, and can go on with the next."""
        try:
            yield
        except (RankLost, PeerFailed):
            raise
        except UnineuronError as error:
            self._exchange("the end of the task", str(error))
            raise
        self._meet("the end of the task")

    def leave(self, reason: str = "") -> None:
        """Leave the group, in good order or, for a ``reason``, not: then the others are not waited for."""
        if not reason:
            self._meet("the end")
            dist.destroy_process_group()

    def _meet(self, what: str) -> None:
        """Wait until all processes are here. Raises PeerFailed if one has failed at the task instead."""
        failed = [(rank, error) for rank, error in enumerate(self._exchange(what, "")) if error]
        if failed:
            raise PeerFailed(f"rank {failed[0][0]}: {failed[0][1]}")

    def _exchange(self, what: str, own: Any) -> list[Any]:
        """The objects of all processes, in the order of ranks."""
        found: list[Any] = [None] * self.count
        with self._loss_explained(what):
            dist.monitored_barrier(self._control, timeout=self._timeout)
            dist.all_gather_object(found, own, group=self._control)
        return found

    @contextmanager
    def _loss_explained(self, what: str) -> Iterator[None]:
        """Raise RankLost, naming the process if torch names it, where an exchange breaks off."""
        try:
            yield
        except RuntimeError as error:
            raise RankLost(f"{self._describe_lost(str(error))} while waiting for {what}; {RERUN}") from None

    def _describe_lost(self, message: str) -> str:
        """The process that is gone, by its rank and place."""
        named = [rank for rank in range(self.count) if f"Rank {rank} {BARRIER_FAILED}" in message]
        rank = named[0] if named else self._unreachable()
        if rank is None:
            return f"another rank than {self.index} of {self.count} is lost"
        place = f" ({self._places[rank]})" if hasattr(self, "_places") else ""
        return f"rank {rank} of {self.count}{place} is lost"

    def _unreachable(self) -> int | None:
        """The first process to which the connection is broken; a connection that works only times out."""
        for rank in range(self.count):
            if rank != self.index:
                try:
                    work = dist.isend(torch.zeros(1), rank, group=self._control)
                    assert work is not None  # every rank is in the group
                    work.wait(timedelta(seconds=PROBE_SECONDS))
                except RuntimeError as error:
                    if "Timed out" not in str(error):
                        return rank
        return None

    def _deserialised(self, sent: Any) -> Any:
        """An object that another process of the same program has sent; what was on its GPU is put on this one's."""
        return torch.load(io.BytesIO(sent), map_location=self._placed, weights_only=False)

    def _placed(self, storage: Any, place: str) -> Any:
        return storage if place == "cpu" else storage.to(device=self._device)


def _timeout() -> float:
    text = os.environ.get(RANK_TIMEOUT, str(DEFAULT_TIMEOUT))
    try:
        return float(text)
    except ValueError:
        raise OptionError(f"{RANK_TIMEOUT}={text}: give a number of seconds, such as 600") from None


def _serialised(value: Any) -> bytes:
    written = io.BytesIO()
    torch.save(value, written)
    return written.getvalue()
