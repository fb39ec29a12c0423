"""Test and validation identities: none is both, and the choice is that of slow loops over the manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import subspace

from subspace.mining import InputError, Manifest
from subspace.mining.parquet_tables import write_parquet
from subspace.mining.schemas import MANIFEST
from subspace.pipeline.configuration.config import RunConfig
from subspace.pipeline.configuration.config_file import parse_config
from subspace.pipeline.stages.held_out import HeldOut


def config_of(manifest: Path, **sections: Any) -> RunConfig:
    return parse_config({"manifest": str(manifest), **sections}, [], "test")


def identities(manifest: Manifest, image_ids: np.ndarray) -> list[int]:
    return [int(manifest.identity_id[image]) for image in image_ids]


def split_of(manifest: Manifest) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for identity, split in zip(
        manifest.identity_id.tolist(), manifest.table["split"].to_pylist(), strict=True
    ):
        found.setdefault(identity, set()).add(split)
    return found


def test_validation_and_test_share_nobody(small_manifest: Path) -> None:
    manifest, config = Manifest.open(small_manifest), config_of(small_manifest)
    splits, groups = split_of(manifest), manifest.groups()
    for held, split, count in ((HeldOut.validation(config), "val", 6), (HeldOut.test(config), "test", 16)):
        gallery, probe, distractor = held.choose_images(manifest)
        assert all(
            splits[identity] == {split} for identity in identities(manifest, np.append(gallery, probe))
        )
        assert all(splits[identity] != {"train"} for identity in identities(manifest, distractor))
        assert len(gallery) == len(set(identities(manifest, gallery))) <= count
        assert len(gallery) >= count - 1
        mate = dict(zip(identities(manifest, gallery), gallery, strict=True))
        for image, identity in zip(probe, identities(manifest, probe), strict=True):
            assert image != mate[identity]
            assert groups is None or groups[image] != groups[mate[identity]]
    assert {"val"} == {
        split
        for i in identities(manifest, HeldOut.test(config).choose_images(manifest)[2])
        for split in splits[i]
    }


def test_an_identity_of_both_is_of_the_test_alone(small_manifest: Path, tmp_path: Path) -> None:
    table = pq.read_table(small_manifest)
    split = table["split"].to_pylist()
    rows = [index for index, name in enumerate(split) if name == "test"]
    manifest = Manifest.open(small_manifest)
    shared = int(manifest.identity_id[rows[0]])
    mine = [index for index in rows if manifest.identity_id[index] == shared]
    for index in mine[: len(mine) // 2]:
        split[index] = "val"
    place = table.schema.get_field_index("split")
    column = pa.array(split).cast(table.schema.field("split").type)
    path = tmp_path / "shared.parquet"
    write_parquet(path, MANIFEST, table.set_column(place, table.schema.field("split"), column), "f" * 32)
    mixed = Manifest.open(path)
    config = config_of(path)
    assert shared in identities(mixed, np.concatenate(HeldOut.test(config).choose_images(mixed)))
    assert shared not in identities(mixed, np.concatenate(HeldOut.validation(config).choose_images(mixed)))
    other = config_of(path, data={"test_splits": ["test", "val"], "distractor_splits": ["val"]})
    assert HeldOut.validation(other).problem(mixed) == (
        f"{path}: every identity in data.val_splits=val is also in data.test_splits=test,val, and those are left out"
    )
    assert HeldOut.test(other).problem(mixed) is None


def test_a_limit_draws_by_seed(small_manifest: Path) -> None:
    manifest = Manifest.open(small_manifest)
    everybody = HeldOut.validation(config_of(small_manifest)).choose_images(manifest)
    drawn = []
    for seed in range(6):
        held = HeldOut.validation(config_of(small_manifest, validation={"identities": 3}, seed=seed))
        gallery, probe, distractor = held.choose_images(manifest)
        assert len(gallery) == 3
        assert set(identities(manifest, probe)) == set(identities(manifest, gallery))
        assert not set(identities(manifest, distractor)) & set(identities(manifest, gallery))
        drawn.append(tuple(identities(manifest, gallery)))
        again = held.choose_images(manifest)
        assert all(
            (one == other).all() for one, other in zip((gallery, probe, distractor), again, strict=True)
        )
    assert len(set(drawn)) > 1
    assert {identity for three in drawn for identity in three} <= set(identities(manifest, everybody[0]))


def test_without_pairs_it_says_so(small_manifest: Path, tmp_path: Path) -> None:
    config = config_of(small_manifest, data={"val_splits": ["nobody"]})
    manifest = Manifest.open(small_manifest)
    assert HeldOut.validation(config).problem(manifest) == (
        f"{small_manifest} has no images in data.val_splits=nobody (its splits: {', '.join(manifest.splits)})"
    )
    with pytest.raises(InputError, match="val_splits=nobody"):
        HeldOut.validation(config).choose_images(manifest)


def test_training_identities_validate_nobody(small_manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(
        InputError,
        match=r"'train' is both trained on and validated on; take it out of data\.train_splits or data\.val_splits",
    ):
        config_of(small_manifest, data={"val_splits": ["train"]})
    refused = subspace("init", tmp_path / "run", "--manifest", small_manifest, "data.val_splits=[pretrain]")
    assert refused.returncode == 2


def test_the_fingerprint_has_metrics_only_where_they_are_named() -> None:
    """Those of runs made before `metrics` was there are unchanged."""
    config = config_of(Path("m.parquet"))
    assert HeldOut.test(config).fields == {
        "seed": 0, "data.test_splits": ["test"], "data.distractor_splits": ["val"],
        "eval.probes_per_identity": 4, "eval.distractors": 100_000, "eval.ks": [1, 5],
        "eval.fars": [1e-2, 1e-3, 1e-4], "eval.bootstrap": 200,
    }  # fmt: skip
    assert list(HeldOut.validation(config).fields) == [
        "seed", "data.val_splits", "data.test_splits", "data.distractor_splits", "validation.probes_per_identity",
        "validation.distractors", "validation.ks", "validation.fars", "validation.bootstrap", "validation.identities",
    ]  # fmt: skip
    asked = {"metrics": ["Rank-1", "coverage@P=0.95"]}
    fields = HeldOut.test(config_of(Path("m.parquet"), eval=asked)).fields
    assert fields == HeldOut.test(config).fields | {"eval.metrics": ["Rank-1", "coverage@P=0.95"]}
    fields = HeldOut.test(config_of(Path("m.parquet"), eval={"flip": True})).fields
    assert fields == HeldOut.test(config).fields | {"eval.flip": True}


def changed(manifest: Path, path: Path, name: str, values: list[Any]) -> Manifest:
    """The manifest with another column of this name."""
    table = pq.read_table(manifest)
    place = table.schema.get_field_index(name)
    kind = table.schema.field(name)
    table = table.set_column(
        place, kind, pa.array(values, kind.type if name == "image" else None).cast(kind.type)
    )
    write_parquet(path, MANIFEST, table, "f" * 32)
    return Manifest.open(path)


def test_groups_that_leave_no_pair_are_named_and_can_be_ignored(small_manifest: Path, tmp_path: Path) -> None:
    path = tmp_path / "one-group.parquet"
    names = pq.read_table(small_manifest, columns=["identity"])["identity"].to_pylist()
    manifest = changed(small_manifest, path, "group", names)
    assert HeldOut.test(config_of(path)).problem(manifest) == (
        f"{path}, data.test_splits=test: no identity has images of two groups (its column 'group'), and only such make "
        "pairs; ingest without that column (--no-group-column), or set eval.ignore_groups=true"
    )
    assert "validation.ignore_groups=true" in (HeldOut.validation(config_of(path)).problem(manifest) or "")
    ignoring = HeldOut.test(config_of(path, eval={"ignore_groups": True}))
    assert len(ignoring.choose_images(manifest)[0]) == 16
    assert ignoring.fields["eval.ignore_groups"] is True
    assert "eval.ignore_groups" not in HeldOut.test(config_of(path)).fields


def test_an_image_that_is_listed_again_is_no_pair(small_manifest: Path, tmp_path: Path) -> None:
    table = pq.read_table(small_manifest)
    images, identity = table["image"].to_pylist(), table["identity"].to_pylist()
    tests = [row for row, split in enumerate(table["split"].to_pylist()) if split == "test"]
    alone = identity[tests[0]]
    for row in tests:  # all images of one identity are its first; of the others the second is
        first = next(other for other in tests if identity[other] == identity[row])
        if identity[row] == alone or row == first + 1:
            images[row] = images[first]
    path = tmp_path / "repeated.parquet"
    manifest = changed(small_manifest, path, "image", images)
    chosen = HeldOut.test(config_of(path, eval={"ignore_groups": True})).choose(manifest)
    assert (len(chosen.gallery), chosen.unpaired) == (15, 1)
    shown = {int(manifest.identity_id[image]): images[image] for image in chosen.gallery}
    assert all(images[image] != shown[int(manifest.identity_id[image])] for image in chosen.probe)


def flagged(manifest: Path, path: Path, query: list[Any], gallery: list[Any]) -> Manifest:
    table = pq.read_table(manifest)
    for name, flags in (("is_query", query), ("is_gallery", gallery)):
        table = table.append_column(name, pa.array(flags, pa.bool_()))
    write_parquet(path, MANIFEST, table, "f" * 32)
    return Manifest.open(path)


def test_pairs_and_rankings_follow_the_flags(small_manifest: Path, tmp_path: Path) -> None:
    table = pq.read_table(small_manifest)
    place = np.arange(len(table)) % 5
    tests = np.array([split == "test" for split in table["split"].to_pylist()])
    query, gallery = (np.where(tests, side, None) for side in (place < 2, (place > 0) & (place < 4)))
    path = tmp_path / "flagged.parquet"
    manifest = flagged(small_manifest, path, query.tolist(), gallery.tolist())
    held = HeldOut.test(config_of(path, eval={"metrics": ["mAP", "Rank-1"], "ignore_groups": True}))
    pairs, ranked = held.choose_examined(manifest)
    assert len(pairs.gallery) > 5
    assert all(query[pairs.probe])
    assert all(gallery[pairs.gallery])
    assert not set(pairs.probe) & set(pairs.gallery)
    assert ranked is not None
    assert not ranked.leave_one_out
    assert ranked.query.tolist() == np.flatnonzero(query == True).tolist()  # noqa: E712
    assert ranked.gallery.tolist() == np.flatnonzero(gallery == True).tolist()  # noqa: E712
    neither = int((tests & (place == 4)).sum())
    assert ranked.words.endswith(
        f"queries and gallery as is_query and is_gallery say ({neither:,} images are neither)"
    )
    # of one side alone nobody knows what the others are for
    alone = flagged(small_manifest, tmp_path / "alone.parquet", query.tolist(), [None] * len(table))
    with pytest.raises(InputError, match="column is_query marks images, is_gallery none; mark both"):
        HeldOut.test(config_of(tmp_path / "alone.parquet")).choose_images(alone)


@pytest.mark.parametrize("mark", [None, False])
def test_flags_that_mark_nothing_keep_an_old_evaluation_fresh(
    small_manifest: Path, tmp_path: Path, mark: bool | None
) -> None:
    rows = len(pq.read_table(small_manifest))
    blank = flagged(small_manifest, tmp_path / "blank.parquet", [mark] * rows, [mark] * rows)
    both = flagged(small_manifest, tmp_path / "both.parquet", [True] * rows, [True] * rows)
    for held in (HeldOut.test(config_of(small_manifest)), HeldOut.validation(config_of(small_manifest))):
        assert not held.has_flags_in(Manifest.open(small_manifest))
        assert not held.has_flags_in(blank)
        assert held.has_flags_in(both)


def test_retrieval_ranks_all_images_of_the_identities(small_manifest: Path) -> None:
    manifest = Manifest.open(small_manifest)
    tests = np.flatnonzero(manifest.in_splits(["test"]))
    pairs, ranked = HeldOut.test(config_of(small_manifest)).choose_examined(manifest)
    assert ranked is None
    held = HeldOut.test(config_of(small_manifest, eval={"metrics": ["MRR"], "probes_per_identity": 1}))
    examined = held.choose_examined(manifest)
    assert examined.ranked is not None
    assert examined.ranked.query.tolist() == examined.ranked.gallery.tolist() == tests.tolist()
    assert len(examined.pairs.distractor) == 0 < len(pairs.distractor)
    assert set(examined.images) == set(tests)
    limited = {"metrics": ["MRR"], "identities": 3}
    drawn = HeldOut.validation(config_of(small_manifest, validation=limited)).choose_examined(manifest)
    assert drawn.ranked is not None
    assert set(identities(manifest, drawn.ranked.query)) == set(identities(manifest, drawn.pairs.gallery))
    assert held.fields["eval.metrics"] == ["MRR"]


def test_one_identity_alone_says_nothing_of_a_network(small_manifest: Path, tmp_path: Path) -> None:
    """Every network had a Rank-1 of 100 % on it, and the untrained start was the first of them."""
    table = pq.read_table(small_manifest)
    val = [row for row, split in enumerate(table["split"].to_pylist()) if split == "val"]
    names = table["identity"].to_pylist()
    for identities, known in ((1, False), (2, True)):
        chosen = list(dict.fromkeys(names[row] for row in val))[:identities]
        few = table.take([row for row in val if names[row] in chosen])
        place, field = few.schema.get_field_index("identity_id"), few.schema.field("identity_id")
        number = pa.array([chosen.index(name) for name in few["identity"].to_pylist()], field.type)
        few = few.set_column(place, field, number)
        path = tmp_path / f"{identities}.parquet"
        write_parquet(path, MANIFEST, few, "f" * 32)
        held = HeldOut.validation(config_of(path, data={"distractor_splits": []}))
        problem = held.problem(Manifest.open(path))
        assert (problem is None) == known
        assert known or "data.val_splits=val: one identity alone" in str(problem)
