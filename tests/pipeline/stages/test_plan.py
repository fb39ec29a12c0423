"""`subspace plan`: strategies from the command line, and the shards to stage.

Covers pipeline/stages/hardness.py and pipeline/stages/round_tables.py as well.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import QUICK, subspace

from subspace.mining.errors import InputError
from subspace.mining.planning.settings import PlanConfig
from subspace.pipeline.configuration.config_file import parse_config
from subspace.pipeline.console import Console
from subspace.pipeline.options import Options
from subspace.pipeline.stages.cluster import cluster_means
from subspace.pipeline.stages.context import Context
from subspace.pipeline.stages.plan import list_shards, plan_round, refuse_unpaired, refuse_unpaired_plan


@pytest.fixture(scope="module")
def run_on_files(small_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clustered run whose images are files on disk, one folder for each identity."""
    folder = tmp_path_factory.mktemp("files")
    rows = pq.read_table(small_source, columns=["identity", "image", "split"]).to_pylist()
    listed = []
    for number, row in enumerate(rows):
        (folder / f"{number}.png").write_bytes(row["image"])
        listed.append({"identity": row["identity"], "path": f"{number}.png", "split": row["split"]})
    pq.write_table(pa.Table.from_pylist(listed), folder / "list.parquet")
    manifest, run = folder / "m.parquet", folder / "run"
    for command in (
        ("ingest", folder / "list.parquet", "--out", manifest),
        ("init", run, "--manifest", manifest, *QUICK),
        ("pretrain", run),
        ("extract", run),
        ("cluster", run),
    ):
        done = subspace(*command)
        assert done.returncode == 0, done.stderr
    return run


def test_shards_are_listed_for_staging(run_on_files: Path) -> None:
    done = subspace("plan", run_on_files, "--list-shards")
    assert done.returncode == 0, done.stderr
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert all(images == "1" for _, _, images in lines)  # a file holds one image
    assert len({uri for _, uri, _ in lines}) == len(lines) == 288
    assert all(Path(uri.removeprefix("file://")).is_file() for _, uri, _ in lines)
    sizes = pq.read_table(run_on_files / "round-000" / "centroids.parquet")["size"].to_pylist()
    assert Counter(int(home) for home, _, _ in lines) == {home: 6 * size for home, size in enumerate(sizes)}
    rows = json.loads(subspace("plan", run_on_files, "--list-shards", "--json").stdout)
    assert [[str(row["subspace_id"]), row["uri"], str(row["images"])] for row in rows] == lines
    assert not (run_on_files / "round-000" / "plan").exists()


def test_where_subspaces_overlap_the_shards_of_every_batch_are_listed(
    run_on_files: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(run_on_files, tmp_path / "run")
    settings = ["cluster.overlap=0.3", "cluster.tolerance=0.1", "plan.strategy=subspace", "plan.steps=30"]
    context = Context.open(run, settings, Options(Console(quiet=True), force=True))
    cluster_means(context)
    plan_round(context)
    shards = list_shards(context)
    listed = {(row["subspace_id"], row["uri"]) for row in shards}
    assert len(listed) == len(shards) > 288
    uris = context.manifest.table["uri"].to_pylist()
    for batch in pq.read_table(run / "round-000" / "plan").to_pylist():
        assert {(batch["subspace_id"], uris[image]) for image in batch["image_ids"]} <= listed


def test_images_inside_the_manifest_have_no_shards(finished_run: Path) -> None:
    done = subspace("plan", finished_run, "--list-shards")
    assert done.returncode == 0
    assert done.stdout.count("\n") == 1
    assert "no shards" in done.stdout
    assert json.loads(subspace("plan", finished_run, "--list-shards", "--json").stdout) == []


@pytest.mark.parametrize(
    "settings",
    [
        ["plan.strategy=random"],
        ["plan.strategy=doppelganger", "plan.random_fraction=0.5", "plan.max_appearances=12"],
        ["plan.strategy=graph", "plan.max_images=3"],
        ["plan.order=sequential", "plan.locality_window=2"],
    ],
)
def test_strategies(run_on_files: Path, tmp_path: Path, settings: list[str]) -> None:
    run_on_files = shutil.copytree(run_on_files, tmp_path / "run")
    done = subspace("plan", run_on_files, *settings, "--force", "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)["summary"]
    assert -1 <= summary["random_hardness"] <= 1
    table = pq.read_table(run_on_files / "round-000" / "plan")
    assert len(table) == 8
    assert (set(table["subspace_id"].to_pylist()) == {-1}) == (settings == ["plan.strategy=random"])
    again = (run_on_files / "round-000" / "plan" / "part-00000.parquet").read_bytes()
    assert subspace("plan", run_on_files, *settings, "--force").returncode == 0
    assert (run_on_files / "round-000" / "plan" / "part-00000.parquet").read_bytes() == again


def test_contradictions_are_one_line(run_on_files: Path) -> None:
    done = subspace("plan", run_on_files, "plan.strategy=graph", "plan.group_size=2")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "plan.group_size=2 contradicts plan.strategy=graph" in done.stderr


def test_suspected_duplicates_are_kept_apart(run_on_files: Path) -> None:
    folder = run_on_files / "round-000"
    done = subspace("cluster", run_on_files, "cluster.duplicates_within=3", "--force")
    assert done.returncode == 0, done.stderr
    pairs = pq.read_table(
        folder / "duplicates.parquet", columns=["identity_id_a", "identity_id_b"]
    ).to_pylist()
    met = {frozenset(pair.values()) for pair in pairs}
    together = {}
    for duplicates in ("together", "apart"):
        settings = [
            "cluster.duplicates_within=3",
            "plan.strategy=doppelganger",
            f"plan.duplicates={duplicates}",
        ]
        done = subspace("plan", run_on_files, *settings, "--force")
        assert done.returncode == 0, done.stderr
        batches = pq.read_table(folder / "plan")["identity_ids"].to_pylist()
        together[duplicates] = sum(
            frozenset(couple) in met for batch in batches for couple in combinations(batch, 2)
        )
    assert together["together"] > together["apart"] == 0

    settings = ["cluster.duplicates_within=null", "plan.duplicates=apart"]
    assert subspace("cluster", run_on_files, *settings, "--force").returncode == 0
    refused = subspace("plan", run_on_files, *settings, "--force")
    assert refused.returncode == 2
    assert "set cluster.duplicates_within" in refused.stderr
    assert refused.stderr.count("\n") == 1


@pytest.mark.slow
def test_an_identity_without_a_mean_is_in_no_batch(damaged: Path, tmp_path: Path) -> None:
    """Two of its six images were looked at, neither could be read, and the others are not quarantined."""
    run = tmp_path / "run"
    settings = (*QUICK, "extract.max_images=2", "cluster.ids_per_subspace=12", "data.max_bad_fraction=0.3")
    assert subspace("init", run, "--manifest", damaged, *settings).returncode == 0
    for command in ("pretrain", "extract", "cluster", "plan", "train"):
        done = subspace(command, run)
        assert done.returncode == 0, done.stderr
    assert "1 identity without a readable image" in subspace("extract", run, "--force").stdout
    known = pq.read_table(run / "round-000" / "identities.parquet")["identity_id"].to_pylist()
    planned = pq.read_table(run / "round-000" / "plan")["identity_ids"].combine_chunks().flatten()
    assert len(known) == 47
    assert set(planned.to_pylist()) <= set(known)


@pytest.mark.parametrize(
    ("loss", "plan", "images", "line"),
    [
        ("batch_ohnm", {"K": 1}, [2, 3], "but plan.K=1: set it to 2 or more"),
        ("batch_ohnm + arcface", {"max_images": 1}, [2, 3], "but plan.max_images=1: set it to 2 or more"),
        ("multi_similarity", {}, [1, 1], "each of the 2 identities has one: .*plan.singletons=augment"),
        ("multi_similarity", {}, [1, 2], None),
        ("multi_similarity", {"singletons": "augment"}, [1, 1], None),
        ("arcface", {"K": 1}, [1, 1], None),
        ("xbm:contrastive", {"K": 1}, [2, 2], None),
        ("pml:TripletMarginLoss", {"K": 1}, [2, 2], None),
    ],
)
def test_a_plan_without_a_positive_pair_is_refused_for_losses_that_need_one(
    loss: str, plan: dict[str, Any], images: list[int], line: str | None
) -> None:
    augment = {"augment": {"shift": 2}}
    config = parse_config({"manifest": "m.parquet", "plan": plan, "train": augment}, [], "test")
    config = config.model_copy(update={"train": config.train.model_copy(update={"loss": loss})})
    if line is None:
        refuse_unpaired_plan(config, np.array(images))
        return
    with pytest.raises(InputError, match=line):
        refuse_unpaired_plan(config, np.array(images))
    with pytest.raises(InputError, match=r"pretrain\.loss=softmax \+ batch_hard .* pretrain\.K=1"):
        refuse_unpaired(
            "pretrain", "pretrain.loss", "softmax + batch_hard", np.array(images), PlanConfig(K=1)
        )


def test_a_plan_for_a_class_loss_does_not_serve_a_loss_over_pairs(run_on_files: Path, tmp_path: Path) -> None:
    run = shutil.copytree(run_on_files, tmp_path / "run")
    (run / "overrides.json").unlink(missing_ok=True)  # of other tests
    refused = subspace("plan", run, "plan.K=1", "--force")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "set it to 2 or more, or train.loss to a loss over classes" in refused.stderr
    done = subspace("plan", run, "plan.K=1", "train.loss=softmax", "--force", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["summary"]["paired_batches"] == 0
    refused = subspace("train", run, "train.loss=batch_ohnm")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert (
        "holds two images of an identity, and train.loss=batch_ohnm learns from such alone" in refused.stderr
    )
