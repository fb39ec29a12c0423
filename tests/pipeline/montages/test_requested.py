"""What is drawn for which path and options, on a real run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import subspace
from made_up_runs import finish
from PIL import Image

from subspace.mining.cleaning.keep_table import table_to_keep
from subspace.mining.errors import InputError
from subspace.mining.manifest import Manifest
from subspace.mining.parquet_tables import write_parquet
from subspace.mining.schemas import KEEP, QUARANTINE, SUSPECTS
from subspace.pipeline.configuration.config_file import load_config
from subspace.pipeline.montages.requested import MontageRequest, write_montage
from subspace.pipeline.report.run_report import RunReport
from subspace.pipeline.report.section import Section
from subspace.pipeline.report_sections.mistakes import make_mistakes
from subspace.pipeline.report_sections.shown import no_pictures
from subspace.pipeline.report_sections.suspects import make_suspects
from subspace.pipeline.run_directory import RunDirectory
from subspace.pipeline.stages.round_tables import read_identities, read_subspaces


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


def test_a_manifest_that_was_ingested_anew_is_not_drawn_by_the_numbers_of_before(
    finished_run: Path, tmp_path: Path
) -> None:
    """Its rows are other images, and the names below them would be wrong."""
    run = shutil.copytree(finished_run, tmp_path / "run", symlinks=True)
    marker = run / "round-001" / "done" / "extract.json"
    record = json.loads(marker.read_text())
    record["fields"]["manifest"] = "of before"
    marker.write_text(json.dumps(record))
    with pytest.raises(
        InputError,
        match=r"changed since `subspace cluster` of round-001.* extract .* --round 1 --force`, then what follows",
    ):
        drawn(run, tmp_path / "x.png", subspace=0)
    assert drawn(run / "round-000", tmp_path / "x.png", subspace=0)["images"]
    assert drawn(run, tmp_path / "x.png", batch=0)["images"]
    plan = run / "round-001" / "done" / "plan.json"
    plan.write_text(json.dumps({**json.loads(plan.read_text()), "fields": {"manifest": "of before"}}))
    for path in (run, run / "round-001", run / "round-001" / "plan"):
        with pytest.raises(InputError, match="changed since `subspace plan` of round-001"):
            drawn(path, tmp_path / "x.png", batch=0)
    report = RunReport.open(run)
    assert report.pictures is None
    assert "has changed since `subspace extract` read it for round-001" in no_pictures(report)


def test_suspects_of_a_network_that_only_cleaned_are_drawn_by_the_manifest_that_it_read(
    finished_run: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(finished_run, tmp_path / "run", symlinks=True)
    folder = RunDirectory(run).round(2)  # there is none in the run: clean --round 2 works on the last network
    (folder.path / "cleaning").mkdir(parents=True)
    rows = {
        "reason": ["outlier"], "score": [0.9], "identity_id": [0], "identity": ["a"], "image_id": [0],
        "other_identity_id": [None], "other_identity": [None], "other_image_id": [None],
    }  # fmt: skip
    path = folder.file("suspects.parquet")
    write_parquet(path, SUSPECTS, pa.table(rows, schema=SUSPECTS.columns), "f")
    known = Manifest.open(load_config(run / "subspace.yaml").manifest).fingerprint
    finish(folder, "clean", fields={"manifest": known})
    assert drawn(path, tmp_path / "x.png")["images"] == [0]
    finish(folder, "clean", fields={"manifest": "of before"})
    with pytest.raises(
        InputError, match=r"changed since `subspace clean` of round-002.* clean .* --round 2 --force`"
    ):
        drawn(path, tmp_path / "x.png")


def test_identities_of_a_subspace_are_shown_by_images_that_are_trained_on(
    finished_run: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(finished_run, tmp_path / "run", symlinks=True)
    folder, config = RunDirectory(run).round(1), load_config(run / "subspace.yaml")
    manifest = Manifest.open(config.manifest)
    images = manifest.identities_in(config.data.train_splits)
    first = images.offset[:-1]
    assert images.count.min() > 2
    owner = np.repeat(images.identity_id, images.count)
    kept = np.ones(len(owner), bool)
    kept[first] = False
    keep = tmp_path / "keep.parquet"
    write_parquet(
        keep, KEEP, table_to_keep(images.image_id, owner, kept, np.full(len(owner), "outlier")), "f"
    )
    unreadable = images.image_id[first + 1]
    bad = {"image_id": unreadable, "identity": ["a"] * len(first), "uri": [None] * len(first),
           "reason": ["cut short"] * len(first)}  # fmt: skip
    write_parquet(folder.quarantine, QUARANTINE, pa.table(bad, schema=QUARANTINE.columns), "f")
    found = drawn(run, tmp_path / "x.png", subspace=0, overrides=[f"data.cleaned={keep}"])["images"]
    members = read_identities(folder)["identity_id"].to_numpy()[read_subspaces(folder) == 0]
    third = images.image_id[first + 2][np.isin(images.identity_id, members)]
    assert sorted(found) == third.tolist()


@pytest.mark.parametrize(("stage", "make"), [("eval", make_mistakes), ("clean", make_suspects)])
def test_sections_of_a_report_show_no_images_of_another_manifest(
    finished_run: Path, tmp_path: Path, stage: str, make: Callable[[RunReport], Section]
) -> None:
    run = shutil.copytree(finished_run, tmp_path / "run", symlinks=True)
    if stage == "clean":
        done = subspace("clean", run, "--round", 1)
        assert done.returncode == 0, done.stderr
    marker = run / "round-001" / "done" / f"{stage}.json"
    record = json.loads(marker.read_text())
    assert (
        record["fields"]["manifest"] == Manifest.open(load_config(run / "subspace.yaml").manifest).fingerprint
    )
    why = f"has changed since <code>subspace {stage}</code> read it for round-001"
    assert why not in str(make(RunReport.open(run)).html)
    record["fields"]["manifest"] = "of before"
    marker.write_text(json.dumps(record))
    assert why in str(make(RunReport.open(run)).html)
