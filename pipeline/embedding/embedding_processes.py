"""An embedding by several processes of this machine: each makes other parts, their parent shows one bar and joins them."""

from __future__ import annotations

import time

from ...mining.errors import InputError
from ..child_processes import Child, run_children, threads_each
from ..console import Progress
from ..options import Options
from ..stages.extraction_processes import LOOKED_FOR_EVERY, devices_of
from ..stages.parts import Shard
from .embedding_parts import EmbeddingParts
from .request import EmbedRequest


def embed_in_processes(
    request: EmbedRequest, parts: EmbeddingParts, options: Options, progress: Progress
) -> None:
    """Make the missing parts in `options.processes` processes, or in fewer where fewer are missing.

    Raises:
        InputError: the processes have ended well, but parts are missing.
        SystemExit: one of them ended with an error of its own, said on standard error; with its exit code.
        StoppedEarly: one of them was killed, or a signal came. What is finished is kept.
    """
    missing = parts.missing()
    # As many threads as for all parts: the last bits may depend on their number, but not on where work was stopped.
    threads = threads_each(min(options.processes, len(parts)))
    count = min(options.processes, len(missing))
    shards = [shard for shard in (Shard(index, count) for index in range(count)) if parts.missing(shard)]
    children = [
        Child(
            [
                "embed",
                *request.arguments(),
                f"--shard={shard.index}",
                f"--num-shards={count}",
                f"--device={device}",
            ],
            threads,
            {"LOCAL_WORLD_SIZE": str(count)},
        )
        for shard, device in zip(shards, devices_of(options.device, len(shards)), strict=True)
    ]
    looked = time.monotonic()

    def look(every: float = LOOKED_FOR_EVERY) -> None:
        nonlocal missing, looked
        if time.monotonic() - looked >= every:
            still = [part for part in missing if not parts.is_finished(part)]
            progress.update(parts.images({*missing} - {*still}))
            missing, looked = still, time.monotonic()

    run_children(children, options, look, grace=0)
    look(0)
    if missing:
        raise InputError(
            f"{len(missing)} of {len(parts)} parts are missing in {parts.folder} though all processes have ended well; "
            "run the same command again"
        )
