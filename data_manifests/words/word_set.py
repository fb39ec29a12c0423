"""What lies beside the shards: the manifest, and the tables that tell of words, faces and provenance.

    manifest.parquet       a row per image; identity is the word, group the type family
    words.parquet          a row per identity: the lists that have it, and its stem
    image_faces.parquet    image_id, face: which row of faces.csv drew an image
    faces.csv              package, file, version, checksum, family, letters and images of each face
    provenance.json        versions, settings and counts

The manifest is written last, and nothing in these files depends on the machine or the clock.
"""

# pyarrow.compute makes its functions when it is imported, out of a type checker's sight.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import csv
import io
import platform
import unicodedata
import zlib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from draw_words import SEED as DRAWING_SEED
from drawn_fonts import FREETYPE
from recipe_end import write_table
from word_faces import WordFace
from word_lists import ListFile, Words
from word_splits import SEED, SPLITS, STEM, Size, stems
from write_shards import rows_path

from subspace.mining.artifacts import write_json, write_text
from subspace.mining.schemas import QUARANTINE
from subspace.pipeline.rows.manifest_writer import write_manifest

LEFT_OUT = ("path",)
"""Of a face, from faces.csv."""


class Identities(NamedTuple):
    """The words of a set, in order."""

    words: Words
    split: np.ndarray
    """int8[I]: indices into SPLITS."""


def write_set(
    out: Path,
    shards: list[Path],
    identities: Identities,
    faces: list[WordFace],
    files: list[ListFile],
    size_name: str,
    size: Size,
) -> dict[str, Any]:
    """Write the files above into `out`, for shards in the order of their identities; return the provenance."""
    words, split = identities
    rows = [np.load(rows_path(shard)) for shard in shards]
    face = np.concatenate([part["face"] for part in rows])
    _write_words(out / "words.parquet", words)
    write_table(
        out / "image_faces.parquet",
        pa.table({"image_id": np.arange(len(face), dtype=np.int32), "face": face}),
    )
    _write_faces(out / "faces.csv", faces, np.bincount(face, minlength=len(faces)))
    family, family_of_face = np.unique([one.family for one in faces], return_inverse=True)
    count = np.bincount(np.concatenate([part["identity"] for part in rows]), minlength=len(split))
    packages = {one.package: one.package_version for one in faces}
    packages |= {one.package: one.version for one in files}
    provenance = {
        "size": size_name,
        "packages": dict(sorted(packages.items())),
        "versions": {
            "FreeType": FREETYPE,
            "Arrow": pa.__version__,
            "Unicode data": unicodedata.unidata_version,
            "Python": platform.python_version(),
            "zlib": zlib.ZLIB_RUNTIME_VERSION,
        },
        "seeds": {"splits": SEED, "drawing": DRAWING_SEED},
        "letters of a stem": STEM,
        "settings": asdict(size),
        "faces": len(faces),
        "families": len(family),
        "images": len(face),
        "identities": len(split),
        "identities by split": {name: int((split == i).sum()) for i, name in enumerate(SPLITS)},
        "identities by images": {
            str(images): int(how_many)
            for images, how_many in zip(*np.unique(count, return_counts=True), strict=True)
        },
        "lists": {
            name: {"encoding": encoding, "identities": int((words.lists >> np.uint32(i) & 1).sum())}
            for i, (name, encoding) in enumerate(zip(words.names, words.encodings, strict=True))
        },
    }
    write_json(out / "provenance.json", provenance)
    families, splits = pa.array(family.tolist()), pa.array(SPLITS)

    def tables() -> Iterator[pa.Table]:
        for shard, part in zip(shards, rows, strict=True):
            yield pa.table(
                {
                    "identity_id": part["identity"],
                    "uri": pa.repeat(shard.relative_to(out).as_posix(), len(part)),
                    "split": splits.take(pa.array(split[part["identity"]])),
                    "size": pa.repeat(shard.stat().st_size, len(part)),
                    "offset": part["offset"].astype(np.int64),
                    "length": part["length"].astype(np.int64),
                    "group": families.take(pa.array(family_of_face[part["face"]])),
                }
            )

    names = words.words.cast(pa.string())
    no_inline, none_bad = pa.nulls(0, pa.binary()), QUARANTINE.columns.empty_table()
    write_manifest(out / "manifest.parquet", tables(), ["group"], names, no_inline, none_bad)
    return provenance


def _write_words(path: Path, words: Words) -> None:
    masks, which = np.unique(words.lists, return_inverse=True)
    told = [" ".join(name for i, name in enumerate(words.names) if mask >> i & 1) for mask in masks.tolist()]
    stem, names = stems(words.words)
    columns = {
        "identity_id": np.arange(len(words.words), dtype=np.int32),
        "identity": words.words.cast(pa.string()),
        "lists": pa.DictionaryArray.from_arrays(which.astype(np.int32), told),
        "stem": pa.array(names).take(pa.array(stem)),
    }
    write_table(path, pa.table(columns))


def _write_faces(path: Path, faces: list[WordFace], images: np.ndarray) -> None:
    text = io.StringIO()
    columns = [field for field in WordFace._fields if field not in LEFT_OUT]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["face", *columns, "images"])
    for number, (face, count) in enumerate(zip(faces, images.tolist(), strict=True)):
        writer.writerow([number, *(getattr(face, column) for column in columns), count])
    write_text(path, text.getvalue())
