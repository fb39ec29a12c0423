"""Draw what a run on the emoji set mined: one emoji of each subspace, and beside it the nearest of its subspace.

    python benchmarks/draw_emoji_lookalikes.py runs/emoji/small-subspaces/round-001 docs/emoji.png

Noto Emoji's drawings alone are shown, whatever the run was trained on. It also says how many of the nearest are
variants of one drawing: another skin tone, or another sign of gender.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from subspace.mining import Manifest
from subspace.pipeline.configuration.config_file import load_config

RECIPE = Path(__file__).resolve().parent.parent / "data_manifests" / "emoji"
sys.path[:0] = [str(RECIPE)]
from emoji_names import Emoji  # noqa: E402

ROWS, COLUMNS, SIDE, GAP = 10, 16, 44, 4
SHOWN = "google"


def main(round_folder: Path, out: Path) -> None:
    """Write the picture and print the shares."""
    manifest = Manifest.open(load_config(round_folder.parent / "subspace.yaml").manifest)
    table = pq.read_table(round_folder / "identities.parquet", columns=["identity_id", "identity", "mean"])
    means = np.stack(table["mean"].to_numpy())
    subspaces = pq.read_table(round_folder / "subspaces.parquet")
    home = dict(zip(subspaces["identity_id"].to_pylist(), subspaces["subspace_id"].to_pylist(), strict=True))
    subspace = np.array([home[identity] for identity in table["identity_id"].to_pylist()])
    picture = {
        name: Path(uri)
        for name, uri in zip(
            manifest.table["identity"].to_pylist(), manifest.table["uri"].to_pylist(), strict=True
        )
        if Path(uri).parent.name == SHOWN
    }
    names = table["identity"].to_pylist()
    base = np.array([Emoji(picture[name].stem, name).base if name in picture else name for name in names])
    similarity = means @ means.T
    np.fill_diagonal(similarity, -1)
    nearest = np.argsort(-similarity, axis=1)[:, :10]
    print(
        f"of the 10 nearest of {len(names):,} emoji, {(base[nearest] == base[:, None]).mean():.0%} are variants of"
    )
    print(f"its drawing and {(subspace[nearest] == subspace[:, None]).mean():.0%} are in its subspace;")
    print(f"the nearest of all is a variant for {(base[nearest[:, 0]] == base).mean():.0%}")

    sheet = Image.new("RGB", (COLUMNS * (SIDE + GAP), ROWS * (SIDE + GAP)), "white")
    shown = np.array([name in picture for name in names])
    for row, members in enumerate(_chosen(subspace, similarity, shown)):
        for column, member in enumerate(members):
            with Image.open(picture[names[member]]) as image:
                small = image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
            sheet.paste(small, (column * (SIDE + GAP), row * (SIDE + GAP)))
    sheet.quantize(128).save(out, optimize=True)


def _chosen(subspace: np.ndarray, similarity: np.ndarray, shown: np.ndarray) -> list[np.ndarray]:
    """For each of the first subspaces the emoji that is nearest to all others of it, and then its nearest."""
    rows = []
    for which in np.unique(subspace)[:ROWS]:
        members = np.flatnonzero((subspace == which) & shown)
        inside = similarity[np.ix_(members, members)]
        first = int(inside.sum(1).argmax())
        inside[first, first] = 2
        rows.append(members[np.argsort(-inside[first])][:COLUMNS])
    return rows


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
