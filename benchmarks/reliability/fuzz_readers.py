"""Every reader of a small file, given damaged bytes: how often, how long, and what it raised besides its one line.

    python benchmarks/reliability/fuzz_readers.py RUN --executions 100000

RUN is a finished run, whose files are damaged copies in memory-backed files: bytes flipped, cut, doubled and put in, and
JSON values replaced by others. A reader passes where nothing but InputError and StaleArtifactError comes out of it, no
execution takes more than SECONDS, and the process never has more than MEMORY beside its start.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from subspace.mining.errors import InputError, StaleArtifactError
from subspace.pipeline.best import kept_best
from subspace.pipeline.configuration.config_file import load_config
from subspace.pipeline.configuration.overrides import read_overrides
from subspace.pipeline.inspection.weights import read_tensor_headers
from subspace.pipeline.learning_rate.trials import read_searches
from subspace.pipeline.records.marker import read_marker
from subspace.pipeline.run_directory import RunDirectory
from subspace.pipeline.schedulers.submission import Submission
from subspace.train.checkpoint_meta import read_meta
from subspace.train.monitoring.metrics_file import read_metrics
from subspace.train.monitoring.open_trackers import read_tracker_ids

SECONDS = 2.0
MEMORY = 512 << 20
"""Bytes."""
ODD: list[Any] = [
    None, True, -1, 0, 1 << 70, 10**400, 1e308, "", "x" * 9_999, "\x00", "\ud800", "../..", [], {}, [[]] * 99, {"": {}},
]  # fmt: skip
PIECES = [
    b"[" * 9_999,
    b'{"a":' * 999,
    b"NaN",
    b"Infinity",
    b"\xff",
    b"\x00" * 99,
    b"9" * 5_000,
    b"1e999",
    b"\n",
    b'"',
    b"}",
]
FIGURE = {"value": 0.5, "low": 0.4, "high": None}
TRIAL = {
    "rate": 0.1, "state": "done", "steps": 4, "images": 8, "seconds": 1.0, "device": "cpu",
    "metrics": {"Rank-1": FIGURE}, "losses": [[1, 0.5]],
}  # fmt: skip
SEARCHES = {"searches": [{"fingerprint": "f", "fields": {"a": 1}, "start": {"Rank-1": FIGURE},
                          "best": {"rate": 0.1, "metric": "Rank-1", "value": 0.5}, "trials": [TRIAL]}]}  # fmt: skip
TASK = {"job": "run", "stage": "extract", "folder": "round-000", "id": "7_1", "shards": [0], "num_shards": 2}
NOTE = {"command": "run", "pid": 7, "host": "node3", "since": 1.0}

Reader = tuple[str, bytes, Callable[[Path], object]]
"""A file's place in a run, what it holds where it is whole, and the reader, which gets the run."""


def readers(finished: Path, folder: Path) -> dict[str, Reader]:
    """Every reader by the kind of its file."""
    at, run = RunDirectory(finished), RunDirectory(folder)
    round_ = run.round(0)
    places = {
        "marker": round_.marker("train"), "validation": round_.validation, "best": run.best_record,
        "metrics": round_.metrics, "meta": round_.checkpoint / "meta.json",
    }  # fmt: skip
    calls: dict[str, Callable[[Path], object]] = {
        "marker": lambda path: read_marker(path, "train", "remake it"),
        "validation": lambda path: round_.examined("validate"),
        "best": lambda path: kept_best(run),
        "metrics": read_metrics,
        "meta": lambda path: read_meta(path.parent),
    }
    found: dict[str, Reader] = {
        kind: (str(path.relative_to(folder)), (finished / path.relative_to(folder)).read_bytes(), calls[kind])
        for kind, path in places.items()
    }
    submission = {
        "run": str(folder.resolve()),
        "scheduler": "slurm",
        "user": "ann",
        "overrides": [],
        "tasks": [TASK],
    }
    weights = (at.start.checkpoint / "loss.safetensors").read_bytes()
    return found | {
        "settings": (
            "subspace.yaml",
            b"manifest: m\nplan: {P: 16, K: 2}\neval: {fars: [0.1]}\n",
            load_config,
        ),
        "overrides": ("overrides.json", _bytes({"plan.P": {"value": "8", "instead_of": 4}}), read_overrides),
        "trials": ("lr/trials.json", _bytes(SEARCHES), read_searches),
        "trackers": (
            "round-000/trackers.json",
            _bytes({"fingerprint": "f", "ids": {"wandb": "x"}}),
            read_tracker_ids,
        ),
        "submission": ("jobs/001/submission.json", _bytes(submission), lambda path: Submission.latest(run)),
        "lock": (".lock", _bytes(NOTE), lambda path: run.activity()),
        "weights": ("a.safetensors", weights, read_tensor_headers),
    }


def _bytes(value: Any) -> bytes:
    return json.dumps(value).encode()


def damage(whole: bytes, draw: random.Random) -> bytes:
    """The bytes with one to four changes; of JSON half of the time values, else bytes."""
    if draw.random() < 0.5:
        try:
            value = json.loads(whole)
        except ValueError:
            value = None
        if isinstance(value, dict):
            for _ in range(draw.randint(1, 3)):
                value = _changed(value, draw)
            return json.dumps(value).encode()
    data = bytearray(whole)
    for _ in range(draw.randint(1, 4)):
        place = draw.randrange(len(data) + 1)
        match draw.randrange(5):
            case 0:
                data[place : place + 1] = bytes([draw.randrange(256)])
            case 1:
                del data[place : place + draw.choice([1, 9, len(data)])]
            case 2:
                data[place:place] = data[place : place + 99]
            case 3:
                data[place:place] = draw.choice(PIECES)
            case _:
                data[place : place + 1] = (
                    bytes([data[place] ^ 1 << draw.randrange(8)]) if place < len(data) else b""
                )
    return bytes(data)


def _changed(value: Any, draw: random.Random) -> Any:
    """A copy with one value anywhere in it replaced, dropped or given another key."""
    if isinstance(value, dict) and value and draw.random() < 0.85:
        key = draw.choice(list(value))
        rest = {k: v for k, v in value.items() if k != key}
        action = draw.randrange(6)
        if action == 0:
            return rest
        if action == 1:
            return rest | {draw.choice(["", "x", "\x1b[2J", key + key]): value[key]}
        return value | {key: _changed(value[key], draw)}
    if isinstance(value, list) and value and draw.random() < 0.85:
        at = draw.randrange(len(value))
        return value[:at] + [_changed(value[at], draw)] + value[at + 1 :]
    return draw.choice(ODD)


def fuzz(reader: Reader, folder: Path, executions: int, seed: int) -> tuple[int, int, float, float]:
    """Executions that were refused and accepted, all seconds, and those of the slowest; any other error is raised."""
    name, whole, read = reader
    path, draw = folder / name, random.Random(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    refused, slowest, started = 0, 0.0, time.perf_counter()
    for _ in range(executions):
        data = damage(whole, draw)
        path.write_bytes(data)
        before = time.perf_counter()
        try:
            read(path)
        except (InputError, StaleArtifactError) as error:
            refused += 1
            said = str(error)
            if "\n" in said or len(said) > 20_000:
                raise AssertionError(f"{name}: {said[:500]!r} is not one line") from error
            said.encode()
        except BaseException:
            Path("fuzzed").write_bytes(data)
            raise
        slowest = max(slowest, time.perf_counter() - before)
        if slowest > SECONDS:
            Path("fuzzed").write_bytes(data)
            raise AssertionError(f"{name}: {slowest:.1f} s; the bytes are in ./fuzzed")
    path.unlink()
    return refused, executions - refused, time.perf_counter() - started, slowest


def main() -> None:
    """Fuzz every reader, or those that are named, and print a row for each."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("run", type=Path)
    options.add_argument("--executions", type=int, default=100_000)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--only", nargs="*")
    given = options.parse_args()
    warnings.simplefilter("ignore")
    place = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=place) as folder:
        found = readers(given.run, Path(folder))
        start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
        print("| reader | executions | refused | accepted | seconds | slowest | memory beside the start |")
        print("|---|---|---|---|---|---|---|")
        for kind in given.only or found:
            refused, accepted, seconds, slowest = fuzz(
                found[kind], Path(folder), given.executions, given.seed
            )
            more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10) - start
            print(
                f"| {kind} | {given.executions:,} | {refused:,} | {accepted:,} | {seconds:.0f} | {1000 * slowest:.0f} ms "
                f"| {more / (1 << 20):.0f} MiB |",
                flush=True,
            )
            if more > MEMORY:
                raise AssertionError(f"{kind}: {more:,} bytes of memory")


if __name__ == "__main__":
    main()
