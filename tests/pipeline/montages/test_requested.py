"""What is drawn for which path and options, on a real run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from subspace.mining.errors import InputError
from subspace.pipeline.montages.requested import MontageRequest, write_montage


def drawn(path: Path, out: Path, **options: Any) -> dict[str, Any]:
    return write_montage(MontageRequest(path, options.pop("most", 20), out, **options))


def test_pictures_of_a_run(finished_run: Path, small_manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.png"
    batch = drawn(finished_run, out, batch=3)
    (part,) = (finished_run / "round-001" / "plan").glob("*.parquet")
    assert batch["images"] == pq.read_table(part)["image_ids"][3].as_py()
    assert drawn(part, out, batch=3)["images"] == batch["images"]
    first = drawn(finished_run / "round-000", out, batch=3)
    assert first["shows"].startswith("round-000, batch 3")
    subspace = drawn(finished_run, out, subspace=0, most=4)
    assert len(subspace["images"]) == 4
    name = pq.read_table(small_manifest)["identity"][0].as_py()
    assert drawn(finished_run, out, identity=name)["images"] == list(range(6))
    assert drawn(small_manifest, out, identity=name)["images"] == list(range(6))
    with Image.open(out) as image:
        assert image.size[0] > 6 * 96


def test_what_cannot_be_drawn_is_refused(finished_run: Path, small_manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.png"
    for path, options, why in (
        (finished_run, {}, "--images draws"),
        (finished_run, {"batch": 1, "subspace": 1}, "give one of them"),
        (finished_run / "round-000" / "subspaces.parquet", {}, "say which with --subspace"),
        (finished_run / "round-000" / "quarantine.parquet", {}, "no image was unreadable"),
        (small_manifest, {}, "--identity NAME"),
        (tmp_path / "nothing", {}, "does not exist"),
    ):
        with pytest.raises(InputError, match=why):
            drawn(path, out, **options)
    assert not out.exists()
