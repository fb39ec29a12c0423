"""What building a word set takes: said before it begins, from the drawing of a few of its words on this machine."""

from __future__ import annotations

import argparse
import shutil
import time
from itertools import islice
from pathlib import Path

from word_faces import Coverage, letters_of
from word_shards import WordShard, pictures

from subspace.mining.errors import InputError
from subspace.pipeline.console import Console, about, amount

DOWNLOAD, UNPACKED = 120e6, 420e6
"""Bytes of all packages, seen with Debian 12."""
ROW_BYTES = 20
"""Of the manifest and the tables beside it, an image."""
WORD_MEMORY, PROCESS_MEMORY = 180, 200e6
"""Bytes: of a word of the lists while they are read, and of a process that draws."""
SAMPLED = 300
"""Words that are drawn to see how long all of them take."""


def announce(
    shards: list[WordShard], out: Path, read: int, options: argparse.Namespace, console: Console
) -> None:
    """Say what is left to draw and how much time, disk and memory that takes; `read` is the number of words read.

    Raises:
        InputError: the disk is too full.
    """
    rest = [shard for shard in shards if not shard.is_there]
    images, to_draw = (sum(sum(shard.images) for shard in some) for some in (shards, rest))
    seconds, disk = _sampled(rest)
    disk, free = disk * to_draw + ROW_BYTES * images, shutil.disk_usage(_existing(out)).free
    left = f"{to_draw:,} of them to draw, " if to_draw < images else ""
    console.say(
        f"{options.size}: {sum(len(shard.images) for shard in shards):,} of {read:,} words, at most {images:,} images, {left}"
        f"{about(seconds * to_draw / options.processes)} with --processes {options.processes}, {amount(disk)} of disk "
        f"({amount(free)} free), {amount(WORD_MEMORY * read + PROCESS_MEMORY * options.processes)} of memory"
    )
    if disk > free:
        raise InputError(
            f"{out} takes {amount(disk)}, and {amount(free)} are free; make room, or give another --out"
        )


def _sampled(shards: list[WordShard]) -> tuple[float, float]:
    """Seconds of one process and bytes that an image takes, from a few words of all shards."""
    if not shards:
        return 0.0, 0.0
    faces = shards[0].faces
    coverage = Coverage(list(faces))
    for face in faces:  # a process reads the fonts once
        letters_of(face.path, face.index, face.letters)
    some = -(-SAMPLED // len(shards))
    step = max(1, len(shards) * some // SAMPLED)
    sampled = [pair for shard in shards[::step] for pair in islice(shard.each(), some)]
    began = time.process_time()
    drawn = [png for word, images in sampled for _, png in pictures(word, images, faces, coverage)]
    return (time.process_time() - began) / len(drawn), sum(map(len, drawn)) / len(drawn)


def _existing(folder: Path) -> Path:
    folder = folder.resolve()
    return next(path for path in (folder, *folder.parents) if path.exists())
