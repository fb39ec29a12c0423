"""Make a stored run of today's formats: python tests/golden/make_golden.py NAME

It writes NAME.zip beside this file: a manifest of a few images and a finished run of two rounds. A stored run is never
made again: what a later version does with it is what users of that version meet. Add one when a format changes.
"""

from __future__ import annotations

import sys
import tempfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

SETTINGS = [
    "embedding_size=16", "rounds=2", "pretrain.steps=4", "pretrain.P=4", "pretrain.K=2", "pretrain.num_workers=0",
    "extract.num_workers=0", "cluster.ids_per_subspace=8", "plan.steps=4", "plan.P=4", "plan.K=2",
    "train.num_workers=0", "train.log_every=2", "eval.bootstrap=20", "eval.fars=[1e-1]", "validation.bootstrap=20",
    "train.trackers=[]", "pretrain.optimizer.name=sgd", "train.optimizer.name=sgd",
]  # fmt: skip
LEFT_OUT = {".lock", "tensorboard"}
IDENTITIES = {"train": 12, "pretrain": 4, "val": 4, "test": 4}


def write_source(path: Path) -> None:
    """A few glyphs of the demo, four images each, as a Parquet file with the images inside."""
    table = pq.read_table(
        HERE.parents[1] / "data_manifests" / "demo.parquet", columns=["identity", "image", "split"]
    )
    pieces = []
    for split, count in IDENTITIES.items():
        rows = table.filter(pc.equal(table["split"].cast(pa.string()), split))
        for identity in rows["identity"].unique().to_pylist()[:count]:
            pieces.append(rows.filter(pc.equal(rows["identity"], identity)).slice(0, 4))
    pq.write_table(pa.concat_tables(pieces), path)


def make(name: str) -> Path:
    """Make the run, and put it into an archive."""
    from conftest import subspace

    out = HERE / f"{name}.zip"
    if out.exists():
        raise SystemExit(f"{out} exists, and is never made again; give another name")
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        write_source(here / "source.parquet")
        for words in (
            ["ingest", "source.parquet", "--out", "manifest.parquet"],
            ["init", "run", "--manifest", "manifest.parquet", *SETTINGS],
            ["run", "run"],
        ):
            done = subspace(*words, cwd=here)
            if done.returncode:
                raise SystemExit(done.stderr)
        settings = here / "run" / "subspace.yaml"
        settings.write_text(settings.read_text().replace(str(here.resolve()), "HERE"))
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted([here / "manifest.parquet", *(here / "run").rglob("*")]):
                if path.is_file() and not LEFT_OUT & {path.name, path.parent.name}:
                    archive.write(path, path.relative_to(here))
    return out


if __name__ == "__main__":
    print(make(sys.argv[1]))
