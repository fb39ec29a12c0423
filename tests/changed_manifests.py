"""A run whose manifest was written anew since it was trained: splits drawn anew, so that it has learned test identities."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow as pa
from unsealed_runs import unseal

from subspace.mining.manifest import Manifest
from subspace.mining.parquet_tables import write_parquet
from subspace.mining.schemas import MANIFEST

EXCHANGED = 6
"""So many test identities were trained on."""


def drawn_anew(manifest: Path, path: Path) -> Path:
    """The same images, but that the first identities of `train` and of `test` have taken each other's split."""
    opened = Manifest.open(manifest)
    split = opened.table["split"].cast(pa.string()).to_numpy(zero_copy_only=False).copy()
    for old, new in (("train", "test"), ("test", "train")):
        for identity in opened.identities_in([old]).identity_id[:EXCHANGED]:
            split[opened.identity_id == identity] = new
    place = opened.table.schema.get_field_index("split")
    table = opened.table.set_column(place, "split", pa.array(split).dictionary_encode())
    write_parquet(path, MANIFEST, table.replace_schema_metadata(), "f" * 32)
    return path


def with_changed_manifest(run: Path, manifest: Path, folder: Path) -> Path:
    """A copy of a run of `manifest`, `folder`/run, of which `folder`/faces.parquet is the manifest; that was drawn anew."""
    copy, changed = shutil.copytree(run, folder / "run", symlinks=True), folder / "faces.parquet"
    settings = copy / "subspace.yaml"
    settings.write_text(settings.read_text().replace(str(manifest), str(changed)))
    for meta in copy.glob("*/checkpoint/meta.json"):
        values = json.loads(meta.read_text())
        values["config"]["manifest"] = str(changed)
        meta.write_text(json.dumps(values))
    unseal(copy)
    drawn_anew(manifest, changed)
    return copy
