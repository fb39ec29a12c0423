"""Draw what a run mined: the identities nearest to the centroid of some subspaces, one row each.

python docs/draw_subspaces.py runs/demo-subspace/round-000 docs/subspaces.png
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from subspace.mining import Manifest
from subspace.pipeline.configuration.config_file import load_config

ROWS, COLUMNS, SCALE, GAP = 10, 22, 2, 4


def main(round_folder: Path, out: Path) -> None:
    """Write the picture."""
    manifest = Manifest.open(load_config(round_folder.parent / "subspace.yaml").manifest)
    table = pq.read_table(round_folder / "subspaces.parquet")
    identity_id, subspace_id, similarity = (table[name].to_numpy() for name in table.column_names)
    side = 32 * SCALE + GAP
    sheet = Image.new("L", (COLUMNS * side - GAP, ROWS * side - GAP), 255)
    for row, subspace in enumerate(np.unique(subspace_id)[:ROWS]):
        members = np.flatnonzero(subspace_id == subspace)
        nearest = members[np.argsort(-similarity[members])][:COLUMNS]
        for column, identity in enumerate(identity_id[nearest]):
            image_id = plainest_image(manifest, int(identity))
            image = Image.open(io.BytesIO(manifest.table["image"][image_id].as_py())).convert("L")
            image = Image.eval(image, lambda value: 255 - value)
            image = image.resize((32 * SCALE, 32 * SCALE), Image.Resampling.LANCZOS)
            sheet.paste(image, (column * side, row * side))
    out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(out, optimize=True)


def plainest_image(manifest: Manifest, identity: int) -> int:
    """An image of the identity in a regular weight where there is one."""
    rows = np.flatnonzero(manifest.identity_id == identity)
    uris = [manifest.table["uri"][int(row)].as_py() for row in rows]
    return int(next((row for row, uri in zip(rows, uris, strict=True) if "Regular" in uri), rows[0]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
