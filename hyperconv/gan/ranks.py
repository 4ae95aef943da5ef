"""Several processes that train one system as if they were one: torchrun starts them, each takes a part of every batch.

All of them draw the same batch from the seed and step, each plays the game on its rows, and the gradients are added up.
As a photo's losses are multiplied with 1 / B of the whole batch, that sum is the gradient of one process with all of it.
Large parameters are then moved in parts, one by each process, which keeps Adam's averages of its own part only
(`hyperconv.gan.player`; ZeRO's first stage, Rajbhandari et al. 2020).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from hyperconv.errors import InputError, RankLost
from hyperconv.gan.presets import Config

BACKENDS = "cpu:gloo,cuda:nccl"

Result = TypeVar("Result")


@dataclass(frozen=True)
class Ranks:
    """This process among `count`; rank 0 leads: it alone writes files and speaks."""

    rank: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        return self.rank == 0

    @property
    def rows(self) -> slice:
        """This process's rows of a batch: every `count`-th."""
        return slice(self.rank, None, self.count)

    def share(self, photos: int) -> int:
        """How many of `photos` rows are this process's."""
        return len(range(photos)[self.rows])

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace every tensor with its sum over all processes."""
        if self.count > 1:
            with _watching():
                for work in [dist.all_reduce(tensor, async_op=True) for tensor in tensors]:
                    work.wait()

    def align(self, tensors: Sequence[Tensor]) -> None:
        """Replace every tensor with that of rank 0."""
        if self.count > 1:
            with _watching():
                for work in [dist.broadcast(tensor, 0, async_op=True) for tensor in tensors]:
                    work.wait()

    def own(self, tensor: Tensor) -> Tensor:
        """This process's part of a contiguous tensor, flat: one of `count`, which divides its size."""
        return tensor.view(-1).chunk(self.count)[self.rank]

    def add_up_own(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The own part of each tensor's sum over all processes."""
        sums = [torch.empty_like(self.own(tensor)) for tensor in tensors]
        with _watching():
            for work in [
                dist.reduce_scatter(own, list(tensor.view(-1).chunk(self.count)), async_op=True)
                for own, tensor in zip(sums, tensors)
            ]:
                work.wait()
        return sums

    def exchange(self, tensors: Sequence[Tensor]) -> None:
        """Fill every tensor with what each process has in its own part."""
        with _watching():
            for work in [
                dist.all_gather(list(tensor.view(-1).chunk(self.count)), self.own(tensor), async_op=True)
                for tensor in tensors
            ]:
                work.wait()

    def gather(self, own: Tensor) -> Tensor | None:
        """The whole of which each process has its own part: flat, and on rank 0 alone."""
        whole = own.new_empty(len(own) * self.count) if self.leads else None
        with _watching():
            dist.gather(own, list(whole.chunk(self.count)) if self.leads else None)
        return whole

    def first(self, work: Callable[[], Result]) -> Result | None:
        """work() on rank 0, whose result only rank 0 gets; the others wait, and leave without a word if it fails."""
        failed, result = torch.ones(()), None
        try:
            if self.leads:
                result = work()
                failed.zero_()
        finally:
            self.align([failed])
        if failed and not self.leads:
            raise SystemExit(1)
        return result


ALONE = Ranks()


def check_ranks(ranks: Ranks, config: Config, photos: int) -> None:
    """InputError where so many processes cannot share the work on `photos` photos."""
    if ranks.count == 1:
        return
    if config.alone:
        raise InputError(
            f"{ranks.count} processes cannot share a run of --system {config.system}: its photos do not know "
            "of each other; give every process some of the photos and an --out of its own, without torchrun"
        )
    batch = min(photos, config.batch_size)
    altered = min(config.variants or batch, config.variants_above or batch)
    least, what = (batch, "photos of a batch") if batch <= altered else (altered, "altered photos of a step")
    if ranks.count > least:
        raise InputError(
            f"{ranks.count} processes share {least} {what}, and one would get none: start at most {least} with "
            "torchrun, or raise --batch-size"
        )


def rank_from_environment() -> int:
    """The rank that torchrun gave this process; 0 where it did not start it."""
    return int(os.environ.get("RANK", "0"))


def was_restarted() -> bool:
    """Whether torchrun starts this process again after one of them died."""
    return _restarts() > 0


def _restarts() -> int:
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def local_device(device: str) -> str:
    """`device` with the GPU of this process where torchrun started several: 'auto' and 'cuda' are cuda:LOCAL_RANK."""
    ours = "LOCAL_RANK" in os.environ and torch.cuda.is_available() and device in ("auto", "cuda")
    return f"cuda:{os.environ['LOCAL_RANK']}" if ours else device


@contextmanager
def joined() -> Iterator[Ranks]:
    """The processes that torchrun started, joined for as long as the context lasts; ALONE where it started none."""
    if "WORLD_SIZE" not in os.environ:
        yield ALONE
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    store, rank, count = next(dist.rendezvous("env://"))
    # The agent's store outlives a restart, and the addresses in it that the last start left are nobody's any more.
    store = dist.PrefixStore(f"start_{_restarts()}", store)
    dist.init_process_group(BACKENDS if torch.cuda.is_available() else "gloo", store=store, rank=rank, world_size=count)
    yield Ranks(dist.get_rank(), dist.get_world_size())
    dist.destroy_process_group()  # not after an error: the others may be gone


@contextmanager
def _watching() -> Iterator[None]:
    """RankLost in place of what a collective raises when a process is gone."""
    try:
        yield
    except RuntimeError as error:
        raise RankLost(
            f"another process of this training is gone ({str(error).splitlines()[0]}); the last checkpoint "
            "is kept: start all of them again with --resume"
        ) from error
