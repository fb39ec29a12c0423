"""`subspace inspect`: any Parquet artifact or checkpoint, summarised for a person or as JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..mining.clustering.hardness import batch_hardness
from ..mining.errors import InputError
from ..mining.parquet_tables import metadata_of, open_parquet, read_parquet, read_row_group
from ..mining.schemas import (
    CENTROIDS,
    DUPLICATES,
    EMBEDDINGS,
    IDENTITIES,
    MANIFEST,
    PLAN,
    QUARANTINE,
    SUBSPACES,
    kind_of,
)
from .stages.hardness import plan_hardness

BAR = 40


@dataclass
class Summary:
    """What is worth knowing of one artifact."""

    path: str
    kind: str
    facts: dict[str, Any] = field(default_factory=dict)
    histograms: dict[str, list[tuple[str, int]]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Everything, for a program."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Everything, for a person."""
        lines = [f"{self.path}: {self.kind}"]
        width = max((len(name) for name in self.facts), default=0)
        lines += [f"  {name.ljust(width)}  {_format(value)}" for name, value in self.facts.items()]
        for name, bins in self.histograms.items():
            tallest = max((count for _, count in bins), default=0) or 1
            label = max(len(text) for text, _ in bins)
            lines.append(f"  {name}")
            lines += [
                f"    {text.rjust(label)} {'█' * -(-BAR * count // tallest)} {count:,}"
                for text, count in bins
            ]
        return lines


def inspect(path: Path) -> Summary:
    """Summarise a Parquet file, a plan folder or a checkpoint.

    Raises:
        InputError: nothing there, not Parquet, damaged, or a table of no known kind.
    """
    if path.is_dir():
        if (path / "meta.json").exists():
            return _checkpoint(path)
        parts = sorted(path.glob("*.parquet"))
        if not parts:
            raise InputError(
                f"{path} holds neither Parquet files nor a checkpoint; name one of the files in it"
            )
        path = parts[0] if len(parts) == 1 else path
        if len(parts) > 1 and kind_of(open_parquet(parts[0]).schema_arrow) is not PLAN:
            raise InputError(f"{path} holds {len(parts)} Parquet files; name one of them")
        file, paths = open_parquet(parts[0]), parts
    else:
        file, paths = open_parquet(path), [path]
    kind = kind_of(file.schema_arrow)
    if kind is None:
        raise InputError(
            f"{path} is Parquet, but no table of ours; its columns: {', '.join(file.schema_arrow.names)}"
        )
    summary = Summary(str(path), kind.name)
    summary.facts["rows"] = sum(open_parquet(part).metadata.num_rows for part in paths)
    _DESCRIBE[kind.name](summary, paths, file)
    summary.facts.update(metadata_of(file))
    summary.facts.pop("kind", None)
    summary.facts["bytes"] = sum(part.stat().st_size for part in paths)
    return summary


def _manifest(summary: Summary, paths: list[Path], file: pq.ParquetFile) -> None:
    columns = [name for name in ("identity_id", "split", "keep", "group") if name in file.schema_arrow.names]
    rows = read_parquet(paths[0], MANIFEST, columns)
    identity_id = rows["identity_id"].to_numpy()
    summary.facts["identities"] = len(np.unique(identity_id))
    summary.facts["images kept"] = int(np.sum(rows["keep"].to_numpy(zero_copy_only=False)))
    summary.facts["images inside"] = "image" in file.schema_arrow.names
    if "group" in columns:
        summary.facts["groups"] = len(rows["group"].unique())
    split = rows["split"].combine_chunks().cast(pa.string()).dictionary_encode()
    for code, name in enumerate(split.dictionary.to_pylist()):
        of_split = identity_id[split.indices.to_numpy() == code]
        summary.facts[f"split {name}"] = f"{len(np.unique(of_split)):,} identities, {len(of_split):,} images"
    summary.histograms["images per identity"] = _histogram(np.unique(identity_id, return_counts=True)[1])


def _identities(summary: Summary, paths: list[Path], file: pq.ParquetFile) -> None:
    rows = read_parquet(paths[0], IDENTITIES, ["images", "spread"])
    summary.facts["embedding size"] = file.schema_arrow.field("mean").type.list_size
    summary.facts["images"] = int(np.sum(rows["images"].to_numpy()))
    summary.facts["spread (5 %, median, 95 %)"] = _quantiles(rows["spread"].to_numpy())
    summary.histograms["images per identity"] = _histogram(rows["images"].to_numpy())


def _embeddings(summary: Summary, paths: list[Path], file: pq.ParquetFile) -> None:
    identity_id = read_parquet(paths[0], EMBEDDINGS, ["identity_id"])["identity_id"].to_numpy()
    summary.facts["embedding size"] = file.schema_arrow.field("embedding").type.list_size
    summary.facts["identities"] = len(np.unique(identity_id))


def _quarantine(summary: Summary, paths: list[Path], file: pq.ParquetFile) -> None:
    rows = read_parquet(paths[0], QUARANTINE, ["uri", "reason"])
    for number, row in enumerate(rows.slice(0, 10).to_pylist()):
        summary.facts[f"image {number + 1}"] = f"{row['uri'] or '(inline)'}: {row['reason']}"


def _subspaces(summary: Summary, paths: list[Path], file: pq.ParquetFile) -> None:
    rows = read_parquet(paths[0], SUBSPACES, ["subspace_id", "similarity"])
    sizes = np.bincount(rows["subspace_id"].to_numpy())
    summary.facts["subspaces"] = len(sizes)
    summary.facts["cosine to centroid (5 %, median, 95 %)"] = _quantiles(rows["similarity"].to_numpy())
    summary.facts["largest / mean size"] = float(sizes.max() / sizes.mean())
    summary.histograms["identities per subspace"] = _histogram(sizes)


def _centroids(summary: Summary, paths: list[Path], file: pq.ParquetFile) -> None:
    rows = read_parquet(paths[0], CENTROIDS, ["size", "centroid"])
    centroids = rows["centroid"].combine_chunks().flatten().to_numpy().reshape(len(rows), -1)
    summary.facts["embedding size"] = centroids.shape[1]
    if 1 < len(rows) <= 20_000:
        summary.facts["cosine to the nearest other centroid"] = batch_hardness(
            centroids, np.arange(len(rows))[None]
        )
    summary.histograms["identities per subspace"] = _histogram(rows["size"].to_numpy())


def _duplicates(summary: Summary, paths: list[Path], file: pq.ParquetFile) -> None:
    rows = read_parquet(paths[0], DUPLICATES)
    similarity = rows["similarity"].to_numpy()
    summary.facts["cosine of the two means (5 %, median, 95 %)"] = _quantiles(similarity)
    for number, row in enumerate(rows.slice(0, 10).to_pylist()):
        who = " and ".join(f"{row[f'identity_{side}']} ({row[f'images_{side}']} images)" for side in "ab")
        summary.facts[f"pair {number + 1}"] = (
            f"{who}: cosine {row['similarity']:.3f}, two halves of one identity would have {row['expected']:.3f}"
        )


def _plan(summary: Summary, paths: list[Path], file: pq.ParquetFile) -> None:
    visits, batches = np.zeros(0, np.int64), np.zeros(0, np.int64)
    P = K = everywhere = 0
    for path in paths:  # a row group at a time: a plan may be larger than memory
        for group in range(open_parquet(path).num_row_groups):
            rows = read_row_group(path, PLAN, group, ["subspace_id", "identity_ids"])
            identity = rows["identity_ids"].combine_chunks().flatten().to_numpy()
            subspace = rows["subspace_id"].to_numpy()
            P = len(identity) // len(rows)
            K = K or len(read_row_group(path, PLAN, group, ["image_ids"])["image_ids"][0]) // P
            everywhere += int((subspace < 0).sum())
            visits = _counted(visits, identity)
            batches = _counted(batches, subspace[subspace >= 0])
    drawn = visits[visits > 0]
    summary.facts["identities per batch (P)"] = P
    summary.facts["images per identity (K)"] = K
    summary.facts["subspaces"] = int((batches > 0).sum())
    if everywhere:
        summary.facts["batches from everybody"] = everywhere
    summary.facts["identities drawn"] = len(drawn)
    summary.facts["visits per identity (mean)"] = float(drawn.mean()) if len(drawn) else 0.0
    summary.facts["visits per identity (most)"] = int(drawn.max(initial=0))
    hardness = plan_hardness(paths, paths[0].parent.parent / "identities.parquet")
    if hardness:
        (
            summary.facts["cosine to the nearest identity of the batch"],
            summary.facts["the same in random batches"],
        ) = hardness
    summary.histograms["batches per subspace"] = _histogram(batches[batches > 0])


def _counted(counts: np.ndarray, values: np.ndarray) -> np.ndarray:
    """`counts` of 0, 1, 2, ... with those of `values` added; longer where a value asks for it."""
    counts = np.pad(counts, (0, max(0, int(values.max(initial=-1)) + 1 - len(counts))))
    np.add.at(counts, values, 1)
    return counts


def _checkpoint(path: Path) -> Summary:
    from ..train.checkpoint_meta import read_meta

    meta = read_meta(path)
    facts = {key: value for key, value in asdict(meta).items() if key != "config" and value is not None}
    facts["files"] = {file.name: file.stat().st_size for file in sorted(path.iterdir())}
    return Summary(str(path), "checkpoint", facts)


_DESCRIBE: dict[str, Callable[[Summary, list[Path], pq.ParquetFile], None]] = {
    "manifest": _manifest,
    "identities": _identities,
    "embeddings": _embeddings,
    "quarantine": _quarantine,
    "subspaces": _subspaces,
    "centroids": _centroids,
    "duplicates": _duplicates,
    "plan": _plan,
}


def _histogram(values: np.ndarray, bins: int = 8) -> list[tuple[str, int]]:
    """Counts of whole numbers in at most `bins` ranges of equal width."""
    if len(values) == 0:
        return []
    low, high = int(values.min()), int(values.max())
    width = -(-(high - low + 1) // bins)
    counts = np.bincount((values.astype(np.int64) - low) // width)
    labels = [(low + i * width, min(high, low + (i + 1) * width - 1)) for i in range(len(counts))]
    return [
        (f"{a:,}" if a == b else f"{a:,}-{b:,}", int(n)) for (a, b), n in zip(labels, counts, strict=True)
    ]


def _quantiles(values: np.ndarray) -> list[float]:
    return [round(float(value), 4) for value in np.quantile(values, (0.05, 0.5, 0.95))] if len(values) else []


def _format(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, list):
        return ", ".join(map(_format, value))
    if isinstance(value, dict):
        return ", ".join(f"{name} {_format(item)}" for name, item in value.items())
    return str(value)
