"""Processor time of embedding on the CPU, where the C library keeps freed memory and where it gives it back at once.

Each case runs in a process of its own, in turns; medians. One thread, float32, batches of 256.

python benchmarks/bench_kept_memory.py | tee /dev/stderr | python benchmarks/store_table.py loader kept ...
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

CASES = (("small", (24, 96), 20), ("small", (32, 32), 40))
"""Network, height and width in pixels, batches."""
BATCH, ROUNDS = 256, 3
CHILD = """
import json, resource, sys
import numpy as np, torch
import subspace.train.embedder as embedder
from subspace.train import ImageBatch, build_backbone
from subspace.train.data.preprocess_config import PreprocessConfig
name, size, batches, batch, kept = json.loads(sys.argv[1])
if not kept:
    embedder.keep_freed_memory = lambda: None
torch.set_num_threads(1)
network = build_backbone(name, seed=0, preprocess=PreprocessConfig(size=tuple(size)))
images = torch.zeros((batch, 3, *size), dtype=torch.uint8)
def embed(count):
    given = (ImageBatch(step=step, image_id=np.arange(batch), images=images, bad=[]) for step in range(count))
    for _ in embedder.embed(network, given, torch.device("cpu")):
        pass
embed(1)
before = resource.getrusage(resource.RUSAGE_SELF)
embed(batches)
after = resource.getrusage(resource.RUSAGE_SELF)
seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
print(json.dumps([1e6 * seconds / batches / batch, (after.ru_minflt - before.ru_minflt) / batches / batch, after.ru_maxrss / 1024]))
"""


def measured(name: str, size: tuple[int, int], batches: int, kept: bool) -> list[float]:
    """Microseconds of processor time and fresh pages an image, and the peak in MiB."""
    told = json.dumps([name, size, batches, BATCH, kept])
    done = subprocess.run([sys.executable, "-c", CHILD, told], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def main() -> None:
    """Print the table."""
    print(
        "| network | image | freed memory | processor time, µs an image | fresh pages an image | peak, MiB |"
    )
    print("|---|---|---|---|---|---|")
    for name, size, batches in CASES:
        rounds = [[measured(name, size, batches, kept) for kept in (False, True)] for _ in range(ROUNDS)]
        for place, words in enumerate(("given back", "**kept**")):
            time, pages, peak = (
                statistics.median(one[place][column] for one in rounds) for column in range(3)
            )
            print(f"| {name} | {size[0]} × {size[1]} | {words} | {time:,.0f} | {pages:,.0f} | {peak:,.0f} |")


if __name__ == "__main__":
    main()
