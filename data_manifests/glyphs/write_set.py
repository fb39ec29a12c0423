"""What lies beside the shards: the manifest, and the tables that tell of faces, duplicates and provenance.

    manifest.parquet       a row per image; `group` is the type family
    image_faces.parquet    image_id, face: which row of faces.csv drew an image
    faces.csv              package, file, version, checksum, family and counts of each face
    duplicates.parquet     pairs of identities that are one picture in every face that has both
    provenance.json        versions, settings and counts

The manifest is written last, and nothing in these files depends on the machine or the clock.
"""

from __future__ import annotations

import csv
import io
import platform
import unicodedata
import zlib
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from drawn_fonts import DRAWING, FREETYPE
from face_table import FaceRow, FaceTable, identity_name
from glyph_splits import SEED, glyph_splits
from known_duplicates import known_duplicates
from near_repeats import NEAR_REPEAT
from recipe_end import write_table
from write_shards import rows_path

from subspace.mining.artifacts import write_json, write_text
from subspace.mining.schemas import QUARANTINE
from subspace.pipeline.rows.manifest_writer import write_manifest
from subspace.pipeline.sources.splits import SPLITS

AT_LEAST = (1, 2, 3, 5, 8, 10, 15, 20)


def write_set(
    out: Path, shards: list[Path], table: FaceTable, size: str, least_images: int
) -> dict[str, Any]:
    """Write the files above into `out`, for shards in the order of their identities; return the provenance."""
    rows = [np.load(rows_path(shard)) for shard in shards]
    shard_of = np.repeat(np.arange(len(shards)), [len(part) for part in rows])
    images = np.concatenate(rows)
    new = np.append(True, np.diff(images["code"]) != 0)
    identity_id, code = np.cumsum(new) - 1, images["code"][new]
    count = np.bincount(identity_id)
    family, family_of_face = np.unique([face.family for face in table.faces], return_inverse=True)
    group = family_of_face[images["face"]]
    pairs = np.unique(np.stack([identity_id, group]), axis=1)
    split = glyph_splits(code, count, np.bincount(pairs[0]), least_images)

    duplicates = _duplicates(table, code)
    write_table(out / "duplicates.parquet", duplicates)
    write_table(
        out / "image_faces.parquet", pa.table({"image_id": np.arange(len(images)), "face": images["face"]})
    )
    _write_faces(out / "faces.csv", table.faces, np.bincount(images["face"], minlength=len(table.faces)))
    provenance = {
        "size": size,
        "packages": {face.package: face.package_version for face in table.faces},
        "versions": {
            "FreeType": FREETYPE,
            "Unicode data": unicodedata.unidata_version,
            "Python": platform.python_version(),
            "zlib": zlib.ZLIB_RUNTIME_VERSION,
        },
        "drawing": DRAWING,
        "near repeat": "{}/{}".format(*NEAR_REPEAT),
        "split seed": SEED,
        "least images held out": least_images,
        "faces": len(table.faces),
        "families": len(family),
        "drawn": len(table.drawn) + table.blank + table.placeholders + table.nameless,
        "blank": table.blank,
        "placeholders": table.placeholders,
        "unassigned or private": table.nameless,
        "repeats": len(table.drawn) - len(images),
        "images": len(images),
        "identities": len(code),
        "identities with images": {f">={least}": int((count >= least).sum()) for least in AT_LEAST},
        "identities by split": {name: int((split == i).sum()) for i, name in enumerate(SPLITS)},
        "duplicate pairs": len(duplicates),
    }
    write_json(out / "provenance.json", provenance)
    listed = pa.table(
        {
            "identity_id": identity_id.astype(np.int32),
            "uri": pa.array([shard.relative_to(out).as_posix() for shard in shards]).take(shard_of),
            "split": pa.array(SPLITS).take(split[identity_id]),
            "size": np.array([shard.stat().st_size for shard in shards])[shard_of],
            "offset": images["offset"].astype(np.int64),
            "length": images["length"].astype(np.int64),
            "group": pa.array(family.tolist()).take(group),
        }
    )
    names = pa.array([identity_name(number) for number in code.tolist()])
    no_inline, none_bad = pa.nulls(0, pa.binary()), QUARANTINE.columns.empty_table()
    write_manifest(out / "manifest.parquet", [listed], ["group"], names, no_inline, none_bad)
    return provenance


def _duplicates(table: FaceTable, code: np.ndarray) -> pa.Table:
    """Names and numbers of the two identities, and in how many faces they are one picture."""
    drawn = table.drawn
    pairs_N2, faces = known_duplicates(drawn["code"], drawn["face"], drawn["picture"])
    number = {value: place for place, value in enumerate(code.tolist())}
    sides = {}
    for side, column in zip("ab", pairs_N2.T.tolist(), strict=True):
        sides[f"identity_id_{side}"] = pa.array([number[value] for value in column], pa.int32())
        sides[f"identity_{side}"] = pa.array([identity_name(value) for value in column], pa.string())
    return pa.table({**sides, "faces": faces.astype(np.int32)})


def _write_faces(path: Path, faces: list[FaceRow], images: np.ndarray) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["face", *(field.name for field in fields(FaceRow)), "images"])
    for number, (face, count) in enumerate(zip(faces, images.tolist(), strict=True)):
        writer.writerow([number, *asdict(face).values(), count])
    write_text(path, text.getvalue())
