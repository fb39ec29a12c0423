"""What can be said of a GPU machine in five minutes: the tests that need CUDA, and one table of figures beside their aims.

    python benchmarks/gpu_check.py                         # or: make gpu-check
    python benchmarks/gpu_check.py --store                 # and keep the table in benchmarks/results/gpu.json
    python benchmarks/gpu_check.py --device cpu --quick    # every line of it, in a minute; the figures mean nothing

Ends with 1 where a test or a part failed; an aim that is missed is only said.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from pathlib import Path

from gpu.clustering_rows import clustering_rows
from gpu.command_rows import command_rows
from gpu.loss_rows import loss_rows
from gpu.measure import Machine, Row, as_table, guarded, subspace
from gpu.several_rows import several_rows
from store_table import RESULTS
from store_table import main as store_table

REPOSITORY = Path(__file__).resolve().parent.parent
PARTS: dict[str, Callable[[Machine], Iterable[Row]]] = {
    "losses": loss_rows,
    "clustering": clustering_rows,
    "commands": command_rows,
    "several": several_rows,
}


def test_rows(machine: Machine) -> Iterator[Row]:
    """The tests of tests/gpu on the device."""
    chosen = ["-m", "cuda"] if machine.on_gpu else ["-k", "cpu"]
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *chosen, "tests/gpu"]
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        if line.startswith(("FAILED", "ERROR")):
            print(line, flush=True)
    last = (done.stdout.strip().splitlines() or ["nothing was said"])[-1].strip("= ")
    yield Row("tests of tests/gpu", last, "none fails", met=done.returncode == 0, failed=done.returncode != 0)


def machine_words() -> tuple[str, list[str]]:
    """Card, driver and versions in a line, and what `subspace doctor` advises."""
    found = json.loads(subspace("doctor", "--quick", "--json").stdout)
    by_name = {finding["name"]: finding["value"] for finding in found}
    cards = [value for name, value in by_name.items() if name.startswith("cuda:")]
    words = [*cards, *(f"{name} {by_name[name]}" for name in ("driver", "torch", "FAISS", "cores"))]
    return "; ".join(words), [
        f"{finding['name']}: {finding['advice']}" for finding in found if finding["advice"]
    ]


def give_memory_back() -> None:
    """Give what torch keeps of the GPU's memory to the processes of the next part."""
    import torch

    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, perhaps store; 1 where something failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--quick", action="store_true", help="tiny sizes")
    parser.add_argument("--store", action="store_true", help="keep the table in benchmarks/results/gpu.json")
    parser.add_argument("--only", choices=("tests", *PARTS), action="append", help="a part alone")
    given = parser.parse_args(arguments)
    if given.quick and given.store:
        parser.error("--quick measures nothing that is worth keeping")
    if given.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            print("gpu_check: torch sees no GPU; `subspace doctor` says why, --device cpu --quick tries the script", file=sys.stderr)  # fmt: skip
            return 2
    warnings.simplefilter("ignore")
    hardware, advice = machine_words()
    print(hardware, *advice, "", sep="\n", flush=True)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        machine = Machine(given.device, given.quick, Path(folder))
        for name, part in {"tests": test_rows, **PARTS}.items():
            if given.only and name not in given.only:
                continue
            began = time.perf_counter()
            for row in guarded(name, lambda part=part: part(machine)):
                if given.quick:
                    row = row._replace(met=None)
                rows.append(row)
                print(as_table([row])[-1], flush=True)
            print(f"({name}: {time.perf_counter() - began:.0f} s)", flush=True)
            give_memory_back()
    table = as_table(rows)
    print("", *table, sep="\n")
    if given.store:
        made = {
            "command": "make gpu-check ARGS=--store",
            "date": date.today().isoformat(),
            "hardware": hardware,
        }
        store_table("\n".join(table), RESULTS / "gpu.json", "check", made, [])
    return 1 if any(row.failed for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
