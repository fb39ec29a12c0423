"""The extraction for the next round, in a process of its own on another device, while this round is evaluated.

It makes the parts of `subspace extract RUN --round i --shard 0 --num-shards 1`, which are whole or absent and the
same whoever makes them; the extraction that follows finds them and merges. So it changes when a part is made, and
nothing else. Where several processes extract (`--processes`) they take over when the evaluation is done.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from ..mining.errors import StoppedEarly, SubspaceError
from ..mining.manifest import Manifest
from ..train.devices import pick_device
from .child_processes import PARENT, end_with_parent, python_calling
from .config import RunConfig
from .console import Console
from .run_directory import RunDirectory
from .stages.extract import extract
from .stages.extract_parts import Shard
from .stages.stage import Options


def device_ahead(config: RunConfig, device: str | None) -> str | None:
    """The device for extracting ahead of an evaluation on `device`; None: it is not done."""
    if config.overlap == "off":
        return None
    own, count = pick_device(device), torch.cuda.device_count()
    if own.type == "cuda" and count > 1:
        return f"cuda:{((own.index or 0) + 1) % count}"
    return str(own) if config.overlap == "on" else None


@contextmanager
def extracting_ahead(
    run: RunDirectory, config: RunConfig, options: Options, *, round_index: int
) -> Iterator[None]:
    """Extract the parts of a round while the block runs; wait for them at its end, unless `options.processes` are to
    go on with what is missing then.

    If the block ends by an error or a signal, the extraction is stopped; it never outlives this process. Where it
    fails, nothing is lost: the extraction that follows makes what is missing and says what is wrong.
    """
    device = device_ahead(config, options.device)
    made = (run.round(round_index) / "done" / "extract.json").exists()
    from_running = round_index > 0 and config.recluster.refresh == "running"
    # On a CPU the processes that follow have fewer threads each, and so perhaps another last bit.
    other_bits = options.processes > 1 and device == "cpu"
    if device is None or made or from_running or not options.resume or other_bits:
        yield
        return
    where = f"{run.round(round_index).name}/extract"
    options.console.say(f"{where}: begins on {device} while the evaluation runs (overlap={config.overlap})")
    asked = {
        "run": str(run.path),
        "config": config.model_dump(mode="json"),
        "round": round_index,
        "device": device,
    }
    process = subprocess.Popen(
        python_calling(__name__),
        stdin=subprocess.PIPE,
        text=True,
        env={**os.environ, PARENT: str(os.getpid())},
        start_new_session=True,  # Ctrl-C comes to this process alone, which stops the other
    )
    try:
        _tell(process, asked)
        yield
        code = process.wait() if options.processes == 1 else 0
        if code:
            options.console.say(f"{where}: ended with exit code {code} ahead of its turn; it goes on now")
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _tell(process: subprocess.Popen[str], asked: dict[str, object]) -> None:
    if process.stdin is None:
        return
    try:
        process.stdin.write(json.dumps(asked))
        process.stdin.close()
    except BrokenPipeError:  # it is gone already; its exit code will say so
        pass


def main() -> None:
    """Be the process that extracts ahead, as told on standard input."""
    told = sys.stdin.read()
    if not told:  # the parent was stopped before it could say anything
        sys.exit(StoppedEarly.exit_code)
    asked = json.loads(told)
    end_with_parent()
    config = RunConfig.model_validate(asked["config"])
    options = Options(Console(quiet=True), asked["device"])
    try:
        with options.stop.listening():
            run, manifest = RunDirectory(Path(asked["run"])), Manifest.open(config.manifest)
            extract(run, config, manifest, options, round_index=asked["round"], shard=Shard())
    except (SubspaceError, StoppedEarly) as error:  # the extraction that follows says it
        sys.exit(error.exit_code)
