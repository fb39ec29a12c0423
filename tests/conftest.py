"""Real glyphs, few of them: a manifest that a whole run gets through in seconds."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from forked_commands import run_command
from hypothesis import settings
from running_processes import without_progress

# One thread: results do not depend on the machine, and tests side by side do not fight over cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# How long an example takes says how busy the machine is.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

REPOSITORY = Path(__file__).resolve().parent.parent
DEMO = REPOSITORY / "data_manifests" / "demo.parquet"

QUICK_STEPS = [
    "pretrain.steps=8", "pretrain.P=8", "pretrain.K=2", "pretrain.num_workers=0", "pretrain.save_every=3",
    "extract.num_workers=0", "extract.batch_size=64", "extract.identities_per_part=20",
    "cluster.ids_per_subspace=12", "plan.steps=8", "plan.P=8", "plan.K=2",
    "train.num_workers=0", "train.log_every=2", "train.save_every=3", "train.optimizer.warmup_steps=2",
    "eval.bootstrap=20", "eval.fars=[1e-2]",
]  # fmt: skip
"""Settings with which every stage takes a moment; the method is the default one."""

QUICK = [
    *QUICK_STEPS,
    "plan.strategy=custom", "train.loss=batch_ohnm", "extract.max_images=null", "recluster.refresh=extract",
]  # fmt: skip
"""The paper's method, every image embedded in every round."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is marked `cuda` where torch sees no GPU."""
    marked = [item for item in items if item.get_closest_marker("cuda")]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="torch sees no GPU"))


def subspace(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does, from the folder `cwd`; what it says of its progress is left out."""
    done = run_command([str(argument) for argument in arguments], cwd)
    done.stderr = without_progress(done.stderr)
    return done


@pytest.fixture(scope="session")
def small_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Parquet source of 70 glyph identities with inline images, 6 images each: 48 train, 6 val, 16 test."""
    table = pq.read_table(DEMO, columns=["identity", "uri", "image", "split", "group"])
    wanted = {"train": 32, "pretrain": 16, "val": 6, "test": 16}
    pieces = []
    for split, count in wanted.items():
        rows = table.filter(pc.equal(table["split"].cast(pa.string()), split))
        for identity in rows["identity"].unique().to_pylist()[:count]:
            pieces.append(rows.filter(pc.equal(rows["identity"], identity)).slice(0, 6))
    path = tmp_path_factory.mktemp("source") / "glyphs.parquet"
    pq.write_table(pa.concat_tables(pieces), path)
    return path


@pytest.fixture(scope="session")
def small_manifest(small_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`small_source`, ingested."""
    path = tmp_path_factory.mktemp("manifest") / "glyphs.parquet"
    done = subspace("ingest", small_source, "--out", path)
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture
def damaged(small_source: Path, tmp_path: Path) -> Path:
    """The small source with the first image of every third identity cut short, and one identity all garbage."""
    table = pq.read_table(small_source)
    images, identities, seen = table["image"].to_pylist(), table["identity"].to_pylist(), []
    split = table["split"].cast(pa.string()).to_pylist()
    for row, identity in enumerate(identities):
        if identity not in seen:
            seen.append(identity)
            if len(seen) % 3 == 0:
                images[row] = images[row][: len(images[row]) // 2]
        if identity == identities[0]:
            assert split[row] in ("train", "pretrain")
            images[row] = b"not an image"
    path = tmp_path / "damaged.parquet"
    pq.write_table(
        table.set_column(table.schema.get_field_index("image"), "image", pa.array(images, pa.binary())), path
    )
    assert subspace("ingest", path, "--out", tmp_path / "m.parquet").returncode == 0
    return tmp_path / "m.parquet"


@pytest.fixture(scope="session")
def finished_run(small_manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two rounds, done in one go. Tests must not write into it."""
    run = tmp_path_factory.mktemp("runs") / "finished"
    done = subspace("init", run, "--manifest", small_manifest, *QUICK)
    assert done.returncode == 0, done.stderr
    done = subspace("run", run)
    assert done.returncode == 0, done.stderr
    return run
