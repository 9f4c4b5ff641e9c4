"""Several processes that share the batches of a pass, on one machine or on many, and add up what each gathered.

They are started by torchrun, or by anything else that sets its variables. Whoever waits for the others watches them
meanwhile: a process that fails says so, and one that is lost is named, instead of being waited for forever.
"""

from __future__ import annotations

import io
import os
import socket
import threading
import time
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from pytest_unineuron.activations.ranks import Alone, S
from pytest_unineuron.errors import OptionError, RankLost, UnineuronError, words_of
from pytest_unineuron.machine import chosen_gpu

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

BEAT = 1.0
"""Seconds between two signs of life."""
PATIENCE = "UNINEURON_RANK_TIMEOUT"
"""The variable with the seconds after which a process that gives none is lost."""
LOOK = 0.5
"""Seconds between two looks at those who are waited for."""
LONGEST = timedelta(minutes=30)
"""What torch is told to wait. All processes are there when an exchange begins: this is for one that gets stuck."""
AGAIN = "parts that were finished are kept: start the same command again"
SHIFT = "shift"
"""What sums are about, in the names of their tensors: all else is added."""


class Ranks(Alone):
    """This process, the ``index``-th of ``count``, among the others. Needs the variables that torchrun sets.

    Every process has to call the same methods in the same order. Raises RankLost if another one is gone, and
    UnineuronError with its words if another one has failed.
    """

    def __init__(self) -> None:
        """Raises OptionError if the variables make no sense, or the others cannot be found."""
        try:
            self._patience = float(os.environ.get(PATIENCE, 60))
        except ValueError:
            raise OptionError(f"{PATIENCE}={os.environ[PATIENCE]}: that is no number of seconds") from None
        try:
            store, self.index, self.count = next(rendezvous("env://", timeout=timedelta(minutes=5)))
        except (ValueError, RuntimeError) as error:
            raise OptionError(
                f"RANK={os.environ.get('RANK')} is set, as for one of several processes, but they cannot meet: "
                f"{words_of(error)}; start them with torchrun, or unset RANK"
            ) from None
        self._store = PrefixStore("pytest-unineuron", store)
        self._device = chosen_gpu(torch.cuda.device_count() if torch.cuda.is_available() else 0)
        self._task = self._step = 0
        self._seen: dict[int, tuple[str, float]] = {}
        self._ended = threading.Event()
        self._store.set(f"who/{self.index}", f"on {socket.gethostname()}, process {os.getpid()}")
        threading.Thread(target=self._live, daemon=True).start()
        self._meet("the start")  # torch would wait for them all without looking
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, store=PrefixStore("torch", store), rank=self.index,
                                world_size=self.count, timeout=LONGEST)  # fmt: skip

    def agreed(self, make: Callable[[], T]) -> T:
        """What the first process makes, in all of them."""
        made = [_sent(make()) if self.index == 0 else None]
        self._meet("what rank 0 found")
        with self._blamed("what rank 0 found"):
            dist.broadcast_object_list(made, src=0)
        received: T = self._received(made[0])
        return received

    def gathered(self, own: T) -> list[T]:
        """What every process has, in their order, in all of them."""
        self._meet("what the ranks have gathered")
        found: list[Any] = [None] * self.count
        with self._blamed("what the ranks have gathered"):
            dist.all_gather_object(found, _sent(own))
        return [self._received(each) for each in found]

    def _received(self, sent: Any) -> Any:
        """What was sent; what was on a GPU there is on this process's here. It is the same program that sent it."""
        return torch.load(io.BytesIO(sent), map_location=self._placed, weights_only=False)

    def _placed(self, storage: Any, place: str) -> Any:
        return storage if place == "cpu" else storage.to(device=self._device)

    def total(self, own: S | None, device: Any) -> S:
        """The sum over all processes, in all of them. ``own`` is None where there was nothing to do."""
        shifts = None if own is None else [part.cpu() for name, part in own.as_tensors().items() if SHIFT in name]
        kind: Any  # the class of the sums: whoever had nothing to do knows none
        kind, first = next(each for each in self.gathered((type(own), shifts)) if each[1])
        common = [shift.to(device) for shift in first or ()]
        here = kind(*common) if own is None else own
        near = own is None or all(map(torch.equal, shifts or (), first or ()))
        tensors = (here if near else here.about(*common)).as_tensors()
        self._meet("the products of the ranks")
        with self._blamed("the products of the ranks"):
            for name, part in tensors.items():
                if SHIFT not in name:
                    tensors[name] = part.to(device).contiguous()
                    dist.all_reduce(tensors[name])
        made: S = kind.of_tensors(tensors)
        return made

    @contextmanager
    def task(self) -> Iterator[None]:
        """One thing that all processes do. If one of them fails in it, all do, and can go on with the next."""
        self._task, self._step = self._task + 1, 0
        try:
            yield
        except RankLost:
            raise
        except UnineuronError as error:
            self._store.set(f"failed/{self._task}/{self.index}", str(error))
            raise

    def leave(self, reason: str = "") -> None:
        """This process is done, in good order or, for a ``reason``, not."""
        if reason:
            with suppress(RuntimeError):
                self._store.set(f"left/{self.index}", reason)
        else:
            self._meet("the end")
            dist.destroy_process_group()
            self._store.set(f"bye/{self.index}", "1")
            goodbyes = [f"bye/{rank}" for rank in range(self.count)]
            # The first process may hold the store that the others still look at.
            until = time.monotonic() + self._patience
            while not self.index and not self._store.check(goodbyes) and time.monotonic() < until:
                time.sleep(0.01)
        self._ended.set()

    # -- watching the others -----------------------------------------------------------------------------

    def _live(self) -> None:
        beats = 0
        with suppress(RuntimeError):  # the store is gone: whoever waits for it will say so
            while not self._ended.wait(BEAT):
                beats += 1
                self._store.set(f"beat/{self.index}", str(beats))

    def _meet(self, what: str) -> None:
        """Wait until all processes are here. Raises what is wrong with one that does not come."""
        self._step += 1
        here = [f"here/{self._task}/{self._step}/{rank}" for rank in range(self.count)]
        try:
            self._store.set(here[self.index], "1")
            looked = time.monotonic()
            while not self._store.check(here):
                time.sleep(0.005)
                if time.monotonic() - looked > LOOK:
                    looked = time.monotonic()
                    for rank in range(self.count):
                        if not self._store.check([here[rank]]):
                            self._look_at(rank, what)
        except RuntimeError as error:  # as torch raises it: the store is on the host of the first rank
            reason = words_of(error)
            raise RankLost(f"the host of rank 0 is lost while waiting for {what}: {reason}; {AGAIN}") from None

    def _look_at(self, rank: int, what: str) -> None:
        """Raises what is wrong with a process that is waited for, if anything is."""
        if (reason := self._read(f"failed/{self._task}/{rank}")) is not None:
            raise UnineuronError(f"rank {rank}: {reason}")
        name = f"rank {rank} of {self.count} ({self._read(f'who/{rank}') or 'it never started'})"
        if (reason := self._read(f"left/{rank}")) is not None:
            raise RankLost(f"{name} has failed: {reason}")
        beat, now = self._read(f"beat/{rank}") or "", time.monotonic()
        if rank not in self._seen or self._seen[rank][0] != beat:
            self._seen[rank] = beat, now
        elif now - self._seen[rank][1] > self._patience:
            raise RankLost(
                f"{name} is lost: no sign of life for {self._patience:g} s, while waiting for {what}; {AGAIN}"
            )

    def _read(self, key: str) -> str | None:
        return self._store.get(key).decode() if self._store.check([key]) else None

    @contextmanager
    def _blamed(self, what: str) -> Iterator[None]:
        """An error of torch while processes exchange something means that one is lost: find out which."""
        try:
            yield
        except RuntimeError as error:
            reason = words_of(error)
        else:
            return
        self._meet(f"{what}, which broke off ({reason})")
        raise RankLost(f"{what} broke off, and nobody is lost: {reason}; {AGAIN}")


def _sent(value: Any) -> bytes:
    written = io.BytesIO()
    torch.save(value, written)
    return written.getvalue()
