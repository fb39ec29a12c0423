"""Search class losses on 10,000 glyph identities, and draw some at random: curves/*.json, which arms of the comparison name.

    python benchmarks/quality/search_loss_on_glyphs.py
    python benchmarks/quality/run_rows.py --data 10k --budget steps --out benchmarks/quality/results/class-losses \\
        --arm "AM-LFS, found, s=16"

Needs `make glyphs`. Both spaces, from the starting network of seed 0, on as many random batches as a row has steps, in
8 epochs of 4 candidates. The 2,000 validation identities reward: they are neither trained nor tested on, but are among
the 100,000 distractors of the exam. Killed at any moment, it goes on. A curve that is there is kept: remove it,
and `data/quality/search-loss`, to search anew.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from arms import ARMS, COMMON, DRAWS, LR
from glyph_sets import REPOSITORY, WIDE, GlyphSet, wide_manifest
from one_row import WORK, Row, share_inputs, subspace

from subspace.mining.artifacts import write_json, write_text
from subspace.mining.fingerprints import fingerprint_of
from subspace.mining.parquet_tables import write_parquet
from subspace.mining.schemas import MANIFEST
from subspace.train.loss_search.distribution import draw
from subspace.train.loss_search.spaces import Space, SpaceName

CURVES = REPOSITORY / "benchmarks" / "quality" / "curves"
SPACES: tuple[SpaceName, ...] = ("am-lfs", "search-softmax")
BINS, SCALE, SIGMA = 6, 16.0, 0.2
EPOCHS, CANDIDATES = 8, 4
SET = "10k"


def main() -> None:
    """Write the curves that are missing."""
    CURVES.mkdir(exist_ok=True)
    space = Space("am-lfs", BINS, SCALE)
    for number in range(DRAWS):
        numbers = draw(space.start, SIGMA, 0, 0, number)
        write_json(CURVES / f"am-lfs-draw-{number}.json", space.curve(numbers).to_json())
    for name in SPACES:
        if not (CURVES / f"{name}.json").exists():
            write_text(CURVES / f"{name}.json", searched(name).read_text())


def searched(space: SpaceName) -> Path:
    """Search; the path of what was found."""
    row = Row(ARMS["softmax, s=16"], SET, 0, "steps")
    share_inputs(row)
    run = WORK / "search-loss" / space
    if not (run / "subspace.yaml").exists():
        start = WORK / row.network / "start-0" / "start" / "checkpoint"
        subspace(
            *("init", run, "--manifest", with_validation(), "--model", f"checkpoint:{start}"),
            *(setting for setting in COMMON if not setting.startswith("data.val_splits")),
            *row.arm.settings[:2],
            *(f"train.optimizer.lr={LR:g}", f"plan.steps={row.equal_steps}", f"plan.P={row.identities}"),
            f"plan.K={row.arm.K}",
            threads=row.threads,
        )  # fmt: skip
    subspace(
        *("search-loss", run, "--space", space, "--bins", str(BINS), "--scale", str(SCALE)),
        *("--sigma", str(SIGMA), "--epochs", str(EPOCHS), "--candidates", str(CANDIDATES), "--quiet"),
        threads=row.threads,
    )  # fmt: skip
    return run / "search-loss" / "curve.json"


def with_validation() -> Path:
    """The manifest of the set and of the validation identities, written beside the images; its path."""
    wide = wide_manifest()
    names = pq.read_table(GlyphSet.named(SET).write(), columns=["identity"])["identity"].unique()
    trained = pc.is_in(wide.table["identity"], names)
    table = wide.table.filter(pc.or_(trained, pc.equal(wide.table["split"], "val")))
    _, place = np.unique(table["identity_id"].to_numpy(), return_inverse=True)
    numbers = pa.array(place, pa.int32())  # count up from 0 in every manifest
    table = table.set_column(table.column_names.index("identity_id"), "identity_id", numbers)
    path = WIDE / f"quality-{SET}-and-validation.parquet"
    fingerprint = fingerprint_of({"glyph set": SET, "and": "val", "of": wide.fingerprint})
    write_parquet(path, MANIFEST, table, fingerprint)
    return path


if __name__ == "__main__":
    main()
