"""Parquet tables of a run: how many of what, how they are spread, and the first rows of what needs a look."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ...mining.clustering.duplicate_trust import DuplicateTrust, mutual_pairs
from ...mining.clustering.hardness import batch_hardness
from ...mining.errors import InputError
from ...mining.parquet_tables import metadata_of, open_parquet, read_parquet
from ...mining.schemas import (
    CENTROIDS,
    DUPLICATES,
    EMBEDDINGS,
    IDENTITIES,
    INDEXED_IDENTITIES,
    INDEXED_IMAGES,
    KEEP,
    MANIFEST,
    MISTAKES,
    QUARANTINE,
    SUBSPACES,
    SUSPECTS,
    kind_of,
)
from ..stage_folder import IDENTITIES as IDENTITY_MEANS
from ..stage_words import duplicates_in_words
from .embedding_file import describe_embedding_rows, describe_image_embeddings
from .plan_table import describe_plan
from .summary import Summary

CENTROIDS_COMPARED = 20_000
"""More are not compared with each other: their cosines would be gigabytes."""
PAIRS_KEPT = 10
METADATA_WORDS = {"created_by": "made by", "schema_version": "schema version", "fingerprint": "fingerprint"}


def summarize_table(
    path: Path, parts: Sequence[Path] | None = None, begun: Callable[[Summary], None] | None = None
) -> Summary:
    """Summarise a Parquet file, or a table in several files.

    Args:
        path: what the summary is called by.
        parts: the files in order, of one kind; `path` alone where there are none.
        begun: called once it is known what it is, before its rows are read.

    Raises:
        InputError: not Parquet, damaged, or a table of no known kind.
    """
    paths = list(parts or [path])
    file = open_parquet(paths[0])
    kind = kind_of(file.schema_arrow)
    if kind is None:
        raise InputError(
            f"{path} is Parquet, but no table of a run; its columns: {', '.join(file.schema_arrow.names)}"
        )
    title, rows, describe = _DESCRIBERS[kind.name]
    summary = Summary(str(path), kind.name, title=title)
    if begun is not None:
        begun(summary)
    summary.add("rows", sum(open_parquet(part).metadata.num_rows for part in paths), rows)
    describe(summary, paths, file)
    if len(paths) > 1:
        summary.show("files", f"{len(paths):,}")
    metadata = metadata_of(file)
    summary.facts.update({key: value for key, value in metadata.items() if key != "kind"})
    for key, label in METADATA_WORDS.items():
        if key in metadata:
            number = metadata[key] if metadata[key].isdigit() and key == "schema_version" else ""
            summary.show(label, number, "" if number else metadata[key])
    summary.add_bytes(sum(part.stat().st_size for part in paths))
    return summary


def _manifest(summary: Summary, paths: Sequence[Path], file: pq.ParquetFile) -> None:
    columns = [name for name in ("identity_id", "split", "keep", "group") if name in file.schema_arrow.names]
    rows = read_parquet(paths[0], MANIFEST, columns)
    identity_id = rows["identity_id"].to_numpy()
    summary.add("identities", len(np.unique(identity_id)))
    summary.add("images kept", int(np.sum(rows["keep"].to_numpy(zero_copy_only=False))))
    summary.add("images inside", "image" in file.schema_arrow.names, "images inside the file")
    if "group" in columns:
        summary.add("groups", len(rows["group"].unique()))
    split = rows["split"].combine_chunks().cast(pa.string()).dictionary_encode()
    splits = [["split", "identities", "images"]]
    for code, name in enumerate(split.dictionary.to_pylist()):
        here = identity_id[split.indices.fill_null(-1).to_numpy() == code]
        splits.append([str(name), f"{len(np.unique(here)):,}", f"{len(here):,}"])
        summary.facts[f"split {name}"] = f"{splits[-1][1]} identities, {splits[-1][2]} images"
    summary.show_table("splits", splits)
    summary.add_histogram("images per identity", np.unique(identity_id, return_counts=True)[1], "identities")


def _identities(summary: Summary, paths: Sequence[Path], file: pq.ParquetFile) -> None:
    rows = read_parquet(paths[0], IDENTITIES, ["images", "spread"])
    summary.add("images", int(np.sum(rows["images"].to_numpy())))
    summary.add("embedding size", file.schema_arrow.field("mean").type.list_size, unit="numbers")
    summary.add_spread(
        "spread (5 %, median, 95 %)", rows["spread"].to_numpy(), "cosine distance of images to their mean"
    )
    summary.add_histogram("images per identity", rows["images"].to_numpy(), "identities")
    summary.add_cosines("cosine distance of images to their mean", rows["spread"].to_numpy(), "identities")


def _embeddings(summary: Summary, paths: Sequence[Path], file: pq.ParquetFile) -> None:
    identity_id = read_parquet(paths[0], EMBEDDINGS, ["identity_id"])["identity_id"].to_numpy()
    summary.add("identities", len(np.unique(identity_id)))
    summary.add("embedding size", file.schema_arrow.field("embedding").type.list_size, unit="numbers")


def _quarantine(summary: Summary, paths: Sequence[Path], file: pq.ParquetFile) -> None:
    rows = read_parquet(paths[0], QUARANTINE, ["identity", "uri", "reason"])
    found = [["image", "identity", "what is wrong"]]
    for number, row in enumerate(rows.slice(0, PAIRS_KEPT).to_pylist()):
        uri = row["uri"] or "(inline)"
        summary.facts[f"image {number + 1}"] = f"{uri}: {row['reason']}"
        found.append([uri, str(row["identity"]), str(row["reason"])])
    if len(rows):
        summary.show_table(_first("images", len(rows)), found, text=(0, 1, 2))


def _subspaces(summary: Summary, paths: Sequence[Path], file: pq.ParquetFile) -> None:
    rows = read_parquet(paths[0], SUBSPACES, ["subspace_id", "similarity"])
    sizes = np.bincount(rows["subspace_id"].to_numpy())
    summary.add("subspaces", len(sizes))
    summary.add_spread(
        "cosine to centroid (5 %, median, 95 %)", rows["similarity"].to_numpy(), "cosine to the centroid"
    )
    if len(sizes):
        summary.add("largest / mean size", float(sizes.max() / sizes.mean()), "largest size over mean size")
    summary.add_histogram("identities per subspace", sizes, "subspaces")
    summary.add_cosines("cosine to the centroid", rows["similarity"].to_numpy(), "identities")


def _centroids(summary: Summary, paths: Sequence[Path], file: pq.ParquetFile) -> None:
    rows = read_parquet(paths[0], CENTROIDS, ["size", "centroid"])
    width = file.schema_arrow.field("centroid").type.list_size
    centroids = rows["centroid"].combine_chunks().flatten().to_numpy().reshape(len(rows), width)
    summary.add("embedding size", centroids.shape[1], unit="numbers")
    if 1 < len(rows) <= CENTROIDS_COMPARED:
        nearest = batch_hardness(centroids, np.arange(len(rows))[None])
        summary.add("cosine to the nearest other centroid", nearest, unit="on average")
    summary.add_histogram("identities per subspace", rows["size"].to_numpy(), "subspaces")


def _duplicates(summary: Summary, paths: Sequence[Path], file: pq.ParquetFile) -> None:
    rows = read_parquet(paths[0], DUPLICATES)
    similarity = rows["similarity"].to_numpy()
    summary.add_spread("cosine of the two means (5 %, median, 95 %)", similarity, "cosine of the two means")
    a, b = (rows[f"identity_id_{side}"].to_numpy() for side in "ab")
    with_partner = len(np.union1d(a, b))
    summary.add("identities with a suspected partner", with_partner)
    means = paths[0].parent / IDENTITY_MEANS
    if means.exists():  # a table that was copied away is not judged
        trust = DuplicateTrust(len(rows), with_partner, open_parquet(means, IDENTITIES).metadata.num_rows)
        summary.facts["reliable"] = trust.reliable
        if not trust.reliable:
            summary.show("not reliable", words=duplicates_in_words(trust))
    pairs = [["identity", "images", "and", "images", "cosine", "of two halves of one"]]
    likely = rows.take(
        pa.array(mutual_pairs(a, b, similarity))
    )  # a crowd of look-alikes does not fill the list
    for number, row in enumerate(likely.slice(0, PAIRS_KEPT).to_pylist()):
        sides = [(str(row[f"identity_{side}"]), row[f"images_{side}"]) for side in "ab"]
        cosine, expected = f"{row['similarity']:.3f}", f"{row['expected']:.3f}"
        summary.facts[f"pair {number + 1}"] = (
            f"{' and '.join(f'{name} ({images} images)' for name, images in sides)}: cosine {cosine}, "
            f"two halves of one identity would have {expected}"
        )
        pairs.append([cell for name, images in sides for cell in (name, f"{images:,}")] + [cosine, expected])
    if len(rows):
        summary.show_table(_first("pairs, each the other's nearest", len(likely)), pairs, text=(0, 2))
    summary.add_cosines("cosine of the two means", similarity, "pairs")


def _keep(summary: Summary, paths: Sequence[Path], file: pq.ParquetFile) -> None:
    rows = read_parquet(paths[0], KEEP, ["identity_id", "keep", "reason"])
    keep = rows["keep"].to_numpy(zero_copy_only=False)
    summary.add("images kept", int(keep.sum()))
    identity_id = rows["identity_id"].to_numpy()
    summary.add("identities kept", len(np.unique(identity_id[keep])))
    _by_reason(summary, "left out", rows.filter(pa.array(~keep))["reason"])


def _indexed(summary: Summary, paths: Sequence[Path], file: pq.ParquetFile) -> None:
    kind = INDEXED_IMAGES if "image" in file.schema_arrow.names else INDEXED_IDENTITIES
    rows = read_parquet(paths[0], kind)
    if kind is INDEXED_IMAGES:
        summary.add("identities", len(np.unique(rows["identity_id"].to_numpy())))
    else:
        summary.add("images", int(rows["images"].to_numpy().sum()))


def _suspects(summary: Summary, paths: Sequence[Path], file: pq.ParquetFile) -> None:
    rows = read_parquet(paths[0], SUSPECTS)
    _by_reason(summary, "suspects", rows["reason"])
    for reason in dict.fromkeys(rows["reason"].cast(pa.string()).to_pylist()):
        found = [["image", "identity", "score", "resembles", "its image"]]
        of_reason = rows.filter(np.array([one == reason for one in rows["reason"].to_pylist()]))
        for row in of_reason.slice(0, PAIRS_KEPT).to_pylist():
            ids = ["" if row[name] is None else f"{row[name]:,}" for name in ("image_id", "other_image_id")]
            found.append(
                [ids[0], row["identity"], f"{row['score']:.3f}", row["other_identity"] or "", ids[1]]
            )
        summary.show_table(f"{reason}: {_first('suspects', len(of_reason))}", found, text=(1, 3))


def _mistakes(summary: Summary, paths: Sequence[Path], file: pq.ParquetFile) -> None:
    rows = read_parquet(paths[0], MISTAKES)
    found = [["image", "identity", "cosine", "taken for", "image", "cosine"]]
    for row in rows.slice(0, PAIRS_KEPT).to_pylist():
        right, wrong = (f"{row[f'{side}_similarity']:.3f}" for side in ("right", "wrong"))
        images = [f"{row[name]:,}" for name in ("image_id", "wrong_image_id")]
        found.append([images[0], row["identity"], right, row["wrong_identity"], images[1], wrong])
    if len(rows):
        summary.show_table(_first("mistakes", len(rows)), found, text=(1, 3))


def _by_reason(summary: Summary, title: str, reasons: pa.ChunkedArray) -> None:
    found = [["reason", "rows"]]
    for one in reasons.cast(pa.string()).fill_null("").value_counts().to_pylist():
        summary.facts[f"{title} {one['values']}"] = one["counts"]
        found.append([one["values"], f"{one['counts']:,}"])
    if len(found) > 1:
        summary.show_table(title, found, text=(0,))


def _first(things: str, count: int) -> str:
    return things if count <= PAIRS_KEPT else f"the first {PAIRS_KEPT} of {count:,} {things}"


_DESCRIBERS: dict[str, tuple[str, str, Callable[[Summary, Sequence[Path], pq.ParquetFile], None]]] = {
    "manifest": ("manifest, a row for each image", "images", _manifest),
    "identities": ("identity means, a row for each identity", "identities", _identities),
    "embeddings": ("embeddings, a row for each image", "images", _embeddings),
    "quarantine": ("quarantine, a row for each unreadable image", "unreadable images", _quarantine),
    "subspaces": ("subspaces, a row for each identity", "identities", _subspaces),
    "centroids": ("centroids, a row for each subspace", "subspaces", _centroids),
    "duplicates": ("duplicates, a row for each suspected pair of identities", "pairs", _duplicates),
    "keep": ("keep table, a row for each training image", "images", _keep),
    "suspects": ("suspects of cleaning, a row for each and each reason", "suspects", _suspects),
    "mistakes": ("the worst mistakes of an evaluation, one of each identity", "mistakes", _mistakes),
    "indexed_images": ("images of a search index, a row for each", "images", _indexed),
    "indexed_identities": ("identities of a search index, a row for each", "identities", _indexed),
    "plan": ("plan, a row for each batch", "batches", describe_plan),
    "image_embeddings": ("embeddings of images, a row for each", "images", describe_image_embeddings),
    "embedding_rows": ("what the rows of a .npy of embeddings are", "images", describe_embedding_rows),
}
"""Every kind of table: its title, what its rows are, and the reader."""
