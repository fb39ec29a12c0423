"""Memory that ran out, in one line: what was asked for, what was free, and which settings need less."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ...mining.errors import InputError
from ...mining.machine import free_memory
from ...train.memory_errors import Shortage, shortage_of
from ..console import amount

if TYPE_CHECKING:
    from ..configuration.config import RunConfig

LEAST_CHUNK = 4


@contextmanager
def shortages_in_words(stage: str, config: RunConfig, processes: int = 1) -> Iterator[None]:
    """Turn errors of a stage that has no memory left into one line for the user.

    Args:
        processes: of `--processes`; a launcher's count where it has started this one.

    Raises:
        InputError: memory ran out in the block.
    """
    try:
        yield
    except (RuntimeError, MemoryError, OSError) as error:
        shortage = shortage_of(error)
        if shortage is None:
            raise
        processes = max(processes, int(os.environ.get("WORLD_SIZE", "1")))
        raise InputError(in_words(shortage, stage, config, processes)) from error


def in_words(shortage: Shortage, stage: str, config: RunConfig, processes: int = 1) -> str:
    """One line on a shortage in a stage."""
    has = "this machine has" if shortage.device == "cpu" else f"{shortage.device} has"
    return f"{stage}: more memory is needed than {has}: {_amounts(shortage)}; {_advice(shortage, stage, config, processes)}"


def _amounts(shortage: Shortage) -> str:
    asked = f"{amount(shortage.asked)} were asked for" if shortage.asked else "it does not say how much"
    free = shortage.free if shortage.device != "cpu" else free_memory()
    where = " by the loss" if shortage.in_loss else ""
    if free is None or (shortage.device == "cpu" and shortage.asked and free >= shortage.asked):
        return asked + where  # a limit of the process, which is not known here
    total = f" of {amount(shortage.total)}" if shortage.total else ""
    return f"{asked}{where}, {amount(free)}{total} were free"


def _advice(shortage: Shortage, stage: str, config: RunConfig, processes: int) -> str:
    if stage == "train":
        return _of_training(shortage, "train", config, config.plan.P, config.plan.K, processes)
    if stage == "pretrain":
        return _of_training(shortage, "pretrain", config, config.pretrain.P, config.pretrain.K, processes)
    if stage in ("extract", "validate", "eval"):
        fitting = shortage.fitting(config.extract.batch_size)
        smaller = f"extract.batch_size={fitting} (it is {config.extract.batch_size})" if fitting else ""
        return "set " + " or ".join(
            filter(None, [smaller, _precision("extract", config.extract.precision, shortage)])
        )
    if stage == "embed":
        return f"give a --batch-size below {config.extract.batch_size}"
    if stage == "cluster":
        sample = max(1, config.cluster.max_points_per_centroid // 2)
        return (
            f"set cluster.max_points_per_centroid={sample} for a smaller sample, or a larger cluster.ids_per_subspace "
            f"(it is {config.cluster.ids_per_subspace}) for fewer centroids, or pass --device cpu"
            if shortage.device != "cpu"
            else f"set cluster.max_points_per_centroid={sample} for a smaller sample"
        )
    return "close other programs, or take a machine with more"


def _of_training(shortage: Shortage, section: str, config: RunConfig, P: int, K: int, processes: int) -> str:
    """Smaller chunks for the network's activations; smaller batches for the loss, which sees all of a batch."""
    loader = config.train if section == "train" else config.pretrain
    share = -(-P * K // processes)
    chunk = min(share, loader.chunk_size or share)
    chunks = "" if shortage.in_loss else _chunks(shortage, section, chunk)
    key = "plan.P" if section == "train" else "pretrain.P"
    fewer = _fewer_identities(config, P) if section == "train" else P // 2
    batches = f"{key}={fewer} (it is {P})" if fewer >= 2 else ""
    halves = "" if shortage.in_loss else _precision(section, loader.precision, shortage)
    ways = [chunks, halves, batches]
    ways = [way for way in ways if way] or ["a smaller network, or take a device with more memory"]
    return "set " + (", or ".join(ways) if len(ways) > 1 else ways[0])


def _chunks(shortage: Shortage, section: str, chunk: int) -> str:
    fitting = shortage.fitting(chunk, LEAST_CHUNK)
    return f"{section}.chunk_size={fitting} (it embeds {chunk} images at a time)" if fitting else ""


def _precision(section: str, precision: str, shortage: Shortage) -> str:
    wide = precision in ("32-true", "tf32") and shortage.device.startswith("cuda")
    return f"{section}.precision=bf16-mixed" if wide else ""


def _fewer_identities(config: RunConfig, P: int) -> int:
    """Half of P, in whole groups."""
    g = config.plan.draw.group_size
    return P // 2 if g >= P else P // 2 // g * g
