"""Several processes that train one network as if they were one.

Each process holds the same weights, embeds its share of the planned batch, gathers the embeddings of all and
computes the same loss over the whole batch. Only the network's forward and backward pass are shared out, so
the gradient of W processes is that of one, and so is everything that follows from it.

torch's DistributedDataParallel averages gradients over processes, which stands for the objective "mean of W
losses, each of which sees everything": the gradient that a process sends back into its own rows is therefore
W times that of the loss, and the average makes it whole. A plain gather that leaves the W out trains with
1/W of the learning rate, silently.

Every function does nothing, at no cost, in a process that is alone. Shapes: b rows of this process, B of all.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..mining.errors import InputError, LostContact
from .device_errors import lost_contact, shared_wrongly

PATIENCE = timedelta(minutes=30)
"""How long a process waits for the others before it gives up: the first step may compile kernels, process 0 writes
checkpoints."""


def rank() -> int:
    """The number of this process, 0 when it is alone; process 0 writes files."""
    return dist.get_rank() if dist.is_initialized() else 0


def count() -> int:
    """W."""
    return dist.get_world_size() if dist.is_initialized() else 1


def launched() -> bool:
    """Whether torchrun, or whoever sets the same variables, started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


@contextmanager
def joined() -> Iterator[None]:
    """Meet the other processes that the environment names, and part from them at the end.

    Control messages go over the CPU (gloo), tensors of a GPU over NCCL.

    Raises:
        InputError: the environment names processes but not where to meet them.
        LostContact: one of them was lost on the way.
    """
    if not launched():
        yield
        return
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(local_device())
    try:
        with losses_of_contact():
            dist.init_process_group(backend, timeout=PATIENCE)
    except (ValueError, KeyError) as error:
        raise InputError(f"cannot join the other processes ({error}); start them with torchrun") from error
    try:
        with losses_of_contact():
            yield
    finally:
        # What still holds the group, in cycles, would end its threads too late, and abort the process.
        gc.collect()
        dist.destroy_process_group()


@contextmanager
def losses_of_contact() -> Iterator[None]:
    """Turn errors of torch.distributed into words: "another process is gone" into `LostContact`.

    Raises:
        InputError: the devices or ports of the processes are wrong, and would be so again.
        LostContact: another process, or the way to it, was lost.
    """
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        wrong = shared_wrongly(text)
        if wrong is not None:
            raise InputError(wrong) from error
        if not lost_contact(text):
            raise
        raise LostContact(
            f"process {rank()} lost contact with another one: what that one says is the cause; if it was only killed or "
            "cut off, run the same command to continue from the last save"
        ) from error


def local_device() -> torch.device:
    """The GPU of this process among those of its machine."""
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % max(1, torch.cuda.device_count()))


def share(total: int, process: int, processes: int) -> slice:
    """The rows of `total` that a process takes: contiguous, and their numbers differ by one at most."""
    return slice(process * total // processes, (process + 1) * total // processes)


def gathered(rows_bD: Tensor, start: int, total: int) -> Tensor:
    """The rows of all processes in order, float[B, D]; gradient flows into this process's own, times W.

    Args:
        start: place of the first own row among the `total` ones.
    """
    return rows_bD if count() == 1 else _Gather.apply(rows_bD, start, total)


class _Gather(torch.autograd.Function):
    """A sum with zeros is exact, takes shares of any size, and is the same on every backend."""

    @staticmethod
    def forward(ctx: Any, rows_bD: Tensor, start: int, total: int) -> Tensor:
        ctx.own = slice(start, start + len(rows_bD))
        all_BD = rows_bD.new_zeros((total, *rows_bD.shape[1:]))
        all_BD[ctx.own] = rows_bD
        dist.all_reduce(all_BD)
        return all_BD

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, None, None]:
        return slopes[0][ctx.own] * count(), None, None


def summed(partial: Tensor) -> Tensor:
    """The sum over processes; what follows is computed by all alike, so the gradient comes back as it is."""
    return partial if count() == 1 else _Sum.apply(partial)


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, partial: Tensor) -> Tensor:
        total = partial.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Tensor:
        return slopes[0]


def shared_out(whole: Tensor) -> Tensor:
    """`whole` itself, on its way into work that each process does a part of: its gradient is summed over them."""
    return whole if count() == 1 else _ShareOut.apply(whole)


class _ShareOut(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, whole: Tensor) -> Tensor:
        return whole.view_as(whole)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Tensor:
        total = slopes[0].clone()
        dist.all_reduce(total)
        return total


def largest(tensor: Tensor) -> Tensor:
    """The elementwise maximum over processes, without gradient."""
    found = tensor.detach().clone()
    if count() > 1:
        dist.all_reduce(found, dist.ReduceOp.MAX)
    return found


def agree(*values: bool | int) -> list[int]:
    """The largest of what each process says, for each value: one says stop, all stop."""
    if count() == 1:
        return [int(value) for value in values]
    return largest(torch.tensor(values, dtype=torch.int64)).tolist()


def told(message: str | None) -> str | None:
    """The first message that any process has, in the order of processes; None where none has one."""
    if count() == 1:
        return message
    messages: list[str | None] = [None] * count()
    dist.all_gather_object(messages, message)
    return next((text for text in messages if text), None)


def refuse_if_any(problem: str | None) -> None:
    """End all processes where one has met a problem with the user's input; called by all.

    Raises:
        InputError: in process 0; the others leave with its exit code and without a word.
    """
    if not agree(problem is not None)[0]:
        return
    message = told(problem)
    if rank():
        raise SystemExit(InputError.exit_code)
    raise InputError(message or "")


def as_first(*scalars: Tensor) -> tuple[Tensor, ...]:
    """The scalars of process 0, so that what is decided by them is decided alike."""
    if count() == 1:
        return scalars
    together = torch.stack([scalar.float() for scalar in scalars])
    dist.broadcast(together, 0)
    return tuple(together.unbind())


def same_as_first(module: nn.Module) -> None:
    """Take parameters and buffers from process 0, but for shards.

    Processes compute the same updates of a loss; on GPUs the last bit may differ, and add up.
    """
    if count() == 1:
        return
    for tensor in (*module.parameters(), *module.buffers()):
        if not is_shard(tensor):
            dist.broadcast(tensor.data, 0)


def as_shard(parameter: nn.Parameter, total: int) -> nn.Parameter:
    """Mark a parameter as this process's `share` of `total` rows."""
    parameter.shard_of = total  # pyright: ignore[reportAttributeAccessIssue]
    return parameter


def is_shard(tensor: Tensor) -> bool:
    """Whether this process holds its `share` of the rows, and the others the rest."""
    return hasattr(tensor, "shard_of")


def shard_rows(like: Tensor) -> slice:
    """The rows of the whole that this process's shard is."""
    return share(like.shard_of, rank(), count())  # pyright: ignore[reportAttributeAccessIssue]


def whole_bytes(parameter: Tensor) -> int:
    """Bytes of a parameter, and of what the other processes hold of one that is a shard."""
    if not is_shard(parameter):
        return parameter.nbytes
    rows: int = parameter.shard_of  # pyright: ignore[reportAttributeAccessIssue]
    return rows * parameter.shape[1:].numel() * parameter.element_size()


def whole_shard(own: Tensor, like: Tensor) -> Tensor:
    """In process 0 the rows of all processes, on the CPU; elsewhere `own`. Called by all.

    Args:
        own: this process's rows of something that is cut like the parameter `like`.
    """
    own = own.detach().contiguous()
    if rank():
        dist.send(own, 0)
        return own
    total: int = like.shard_of  # pyright: ignore[reportAttributeAccessIssue]
    rows = torch.empty((total, *own.shape[1:]), dtype=own.dtype)
    rows[share(total, 0, count())] = own.cpu()
    for process in range(1, count()):
        there = share(total, process, count())
        received = own.new_empty((there.stop - there.start, *own.shape[1:]))
        dist.recv(received, process)
        rows[there] = received.cpu()
    return rows
