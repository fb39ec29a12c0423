"""FaceNet's four tables on glyphs, each beside the paper's own figures: embedding size, JPEG quality, pixels, training images.

    python benchmarks/quality/facenet_tables.py jpeg-quality pixels  # tests, keeps the tables, draws
    python benchmarks/quality/facenet_tables.py --train              # all, and trains the points that have no result
    python benchmarks/quality/facenet_tables.py --draw               # only the plots, from the stored tables

Needs `make glyphs`. The points of the first and the last table are rows of `run_rows.py` (ablations embedding-size and
identities). Those of the other two are tests alone, as in the paper: a network that
was trained on pictures as they are sees test pictures of less quality. Plots are docs/benchmarks/facenet-TABLE.png.

The paper's figures are of Schroff, Kalenichenko, Philbin: FaceNet (CVPR 2015), tables 3 to 6: validation rate (VAL) at a false
accept rate of 1e-3 on faces. Its networks and data are others, so only the shapes of the curves can be compared.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import typer
from ablations import ABLATIONS, DEFAULT, SET, Point
from examination import embedded, test_pairs
from glyph_sets import REPOSITORY, GlyphSet, wide_manifest
from one_row import VISITS, Row
from PIL import Image
from run_rows import make_rows

from subspace.mining.evaluation import compute_metrics
from subspace.mining.manifest import Manifest
from subspace.train.data.images import ImageStore

sys.path.append(str(REPOSITORY / "benchmarks"))
import store_table

FACENET = "FaceNet (faces)"
COLUMNS = {"rank1_10k": "Rank-1", "tar_1e-4": "TAR@FAR=1e-4", "tar_1e-5": "TAR@FAR=1e-5"}
VAL = "VAL@FAR=1e-3"
SHOWN = "TAR@FAR=1e-5"
"""The column of ours that is drawn: at 1e-3 all is near 100 %."""
AS_IT_IS = 100
"""In the place of a JPEG quality: the picture as it is, lossless."""
OUT = REPOSITORY / "docs" / "benchmarks"
Measured = list[tuple[str, float, dict[str, float]]]
"""Line, x, and the columns as shares."""


@dataclass(frozen=True)
class Table:
    """One of the paper's."""

    axis: str
    own_axis: str
    published: dict[float, float]
    """VAL in percent."""
    measure: Callable[[bool, float], Measured]


def _rows(
    ablation: str, lines: tuple[str, ...], x: Callable[[Point], float]
) -> Callable[[bool, float], Measured]:
    def measure(train: bool, visits: float) -> Measured:
        del visits  # those of the ablation
        points = [point for point in ABLATIONS[ablation].points if point.line in lines]
        rows = [point.row() for point in points]
        if train:
            make_rows(rows, jobs=1)
        made = [(point, row) for point, row in zip(points, rows, strict=True) if row.result.exists()]
        return [(point.line, x(point), row.read()) for point, row in made]

    return measure


def _images(point: Point) -> float:
    return len(Manifest.open(GlyphSet.named(point.data).write()))


def _tested(changes: dict[float, Callable[[Image.Image], bytes]]) -> Callable[[bool, float], Measured]:
    def measure(train: bool, visits: float) -> Measured:
        del train  # the network is one of the comparison's
        row = Row(DEFAULT, SET, 0, "steps", visits)
        checkpoint = max(row.run.glob("round-*/checkpoint"), default=None)
        if checkpoint is None:
            own = f"--data {SET} --budget steps --visits {visits:g} --arm {DEFAULT.name!r} --again"
            sys.exit(f"{row.run} is not there, and its network is tested; `run_rows.py {own}` makes it")
        return [("the default plan", x, tested(checkpoint, change)) for x, change in changes.items()]

    return measure


def tested(checkpoint: Path, change: Callable[[Image.Image], bytes]) -> dict[str, float]:
    """The columns on the 10,000 test pairs, every picture changed."""
    wide = wide_manifest()
    gallery, probe = test_pairs(wide)
    store = ImageStore(wide)
    files = [change(Image.open(io.BytesIO(store.read(image))).convert("L")) for image in (*gallery, *probe)]
    rows = {
        "image": files,
        "uri": [""] * len(files),
        "offset": [None] * len(files),
        "length": [None] * len(files),
    }
    changed = Manifest(wide.path, pa.table(rows), fingerprint="changed")
    embeddings = embedded(checkpoint, changed, np.arange(len(files)))
    identity_id = wide.identity_id[gallery]
    half = len(gallery)
    found = compute_metrics(
        tuple(COLUMNS.values()), embeddings[:half], identity_id, embeddings[half:], identity_id, bootstrap=1
    )
    return {key: found[name].value or 0.0 for key, name in COLUMNS.items()}


def jpeg(quality: int) -> Callable[[Image.Image], bytes]:
    """A change of a picture: to a JPEG of that quality, or as it is."""

    def change(image: Image.Image) -> bytes:
        file = io.BytesIO()
        if quality == AS_IT_IS:
            image.save(file, "PNG")
        else:
            image.save(file, "JPEG", quality=quality)
        return file.getvalue()

    return change


def smaller(side: int) -> Callable[[Image.Image], bytes]:
    """A change of a picture: scaled down to so many pixels a side; the network scales it up to its 32 again."""

    def change(image: Image.Image) -> bytes:
        file = io.BytesIO()
        image.resize((side, side), Image.Resampling.BILINEAR).save(file, "PNG")
        return file.getvalue()

    return change


TABLES = {
    "jpeg-quality": Table(
        f"JPEG quality of the test pictures ({AS_IT_IS}: as they are)",
        "quality",
        {10: 67.3, 20: 81.4, 30: 83.9, 50: 85.5, 70: 86.1, 90: 86.5},
        _tested({quality: jpeg(quality) for quality in (10, 20, 30, 50, 70, 90, AS_IT_IS)}),
    ),
    "pixels": Table(
        "pixels of the test pictures",
        "pixels",
        {1_600: 37.8, 6_400: 79.5, 14_400: 84.5, 25_600: 85.7, 65_536: 86.4},
        _tested({side**2: smaller(side) for side in (6, 8, 11, 17, 23, 32)}),
    ),
    "embedding-size": Table(
        "embedding size",
        "D",
        {64: 86.8, 128: 87.9, 256: 87.7, 512: 85.6},
        _rows(
            "embedding-size",
            ("the default plan, lr=0.016", "groups of 4, half random"),
            lambda point: point.x,
        ),
    ),
    "training-images": Table(
        "training images",
        "images",
        {2_600_000: 76.3, 26_000_000: 85.1, 52_000_000: 85.1, 260_000_000: 86.2},
        _rows("identities", ("the default plan, lr=0.016", "its loss, random batches, lr=0.016"), _images),
    ),
}
"""By name, the quick ones first."""


def main(
    table: Annotated[list[str] | None, typer.Argument(help="default: all")] = None,
    train: Annotated[bool, typer.Option(help="train what has no result; else it is left out")] = False,
    draw: Annotated[bool, typer.Option(help="only draw what is stored")] = False,
    visits: Annotated[
        float, typer.Option(help="of each identity while the networks that are only tested were trained")
    ] = VISITS,
) -> None:
    """Make the tables, keep them in benchmarks/results/facenet.json, and draw them."""
    unknown = set(table or ()) - set(TABLES)
    if unknown:
        sys.exit(f"no table {min(unknown)!r}; there are {', '.join(TABLES)}")
    for name in table or TABLES:
        if not draw:
            _keep(name, TABLES[name].measure(train, visits), visits)
        if (stored := _stored(name)) is not None:
            _draw(name, stored)


def markdown(name: str, measured: Measured) -> str:
    """A table of what was measured, and the paper's rows."""
    own = TABLES[name]
    lines = [f"| network | {own.own_axis} | {' | '.join(COLUMNS.values())} | {VAL} |", "|---" * 6 + "|"]
    for line, x, result in measured:
        cells = [f"{100 * result[key]:.1f}" for key in COLUMNS]
        lines.append(f"| {line} | {x:,.0f} | {' | '.join(cells)} | – |")
    lines += [f"| {FACENET} | {x:,} | – | – | – | {val} |" for x, val in own.published.items()]
    return "\n".join(lines)


def _keep(name: str, measured: Measured, visits: float = VISITS) -> None:
    length = "" if visits == VISITS else f" --visits {visits:g}"
    made = {
        "command": f"python benchmarks/quality/facenet_tables.py {name}{length}",
        "date": date.today().isoformat(),
        "hardware": "one core of an AMD EPYC, no GPU; FaceNet's figures as published",
    }
    store_table.main(markdown(name, measured), store_table.RESULTS / "facenet.json", name, made, [])
    print(markdown(name, measured), flush=True)


def _stored(name: str) -> list[dict[str, str]] | None:
    """Rows of a stored table, by column."""
    path = store_table.RESULTS / "facenet.json"
    tables = store_table.read(path)["tables"]
    if name not in tables:
        return None
    return [dict(zip(tables[name]["columns"], row, strict=True)) for row in tables[name]["rows"]]


def _draw(name: str, rows: list[dict[str, str]]) -> None:
    import matplotlib.pyplot as plt

    own = TABLES[name]
    figure, (ours, theirs) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for line in dict.fromkeys(row["network"] for row in rows):
        panel, column = (theirs, VAL) if line == FACENET else (ours, SHOWN)
        points = [
            (float(row[own.own_axis].replace(",", "")), float(row[column]))
            for row in rows
            if row["network"] == line
        ]
        color = "C3" if line == FACENET else None
        panel.plot(*zip(*sorted(points), strict=True), marker="o", label=line, color=color)
    for panel, column in ((ours, f"{SHOWN}, %"), (theirs, f"{VAL}, %")):
        panel.set_xlabel(own.axis)
        panel.set_ylabel(column)
        panel.grid(alpha=0.3)
        panel.legend()
        if name != "jpeg-quality":
            panel.set_xscale("log")
    figure.savefig(OUT / f"facenet-{name}.png", dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    typer.run(main)
