"""What inspect says of a file of embeddings, and of the rows of a .npy."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from subspace.mining import embedding_writer
from subspace.pipeline.inspection.tables import summarize_table


def test_embeddings_are_described(tmp_path: Path) -> None:
    rows = {"image": ["a", "b", "c"], "identity": ["ann", "ann", None], "is_query": [True, False, None]}
    for name in ("e.parquet", "e.npy"):
        with embedding_writer(
            tmp_path / name, 2, columns=["identity", "is_query"], network="abc", normalized=False
        ) as writer:
            writer.write(np.array([[3.0, 4], [0, 1], [1, 0]]), rows)
    summary = summarize_table(tmp_path / "e.parquet")
    wanted = {"rows": 3, "embedding size": 2, "identities": 1, "queries": 1, "network": "abc"}
    assert wanted.items() <= summary.facts.items()
    assert summary.facts["images without identity"] == 1
    assert summary.facts["lengths (5 %, median, 95 %)"][1] == 1
    beside = summarize_table(tmp_path / "e.rows.parquet")
    assert {"rows": 3, "columns": "image, identity, is_query"}.items() <= beside.facts.items()
