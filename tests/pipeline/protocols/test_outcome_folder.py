"""A folder of results is whole or absent, and takes the place of none that is of others. Covers
pipeline/protocols/outcome.py and pipeline/protocols/plots.py, too."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from subspace.mining import InputError
from subspace.pipeline.protocols import outcome_folder, plots
from subspace.pipeline.protocols.outcome import Curve, Outcome
from subspace.pipeline.protocols.outcome_folder import check_target, write_outcome


def outcome(far: list[float] | None = None) -> Outcome:
    curve = Curve("ROC", "FAR", "TAR", {"all": (far or [1e-3, 1e-2, 1], [0.5, 0.75, 1])}, log_x=True)
    return Outcome(
        {
            "TAR@FAR=1e-2": {"value": 0.75, "low": 0.7, "high": 0.8, "far": 0.01, "threshold": 0.4321},
            "TAR@FAR=1e-9": {"value": None, "low": None, "high": None, "far": 1e-9, "threshold": None},
        },
        {"probes": 7},
        "on 7 probes",
        notes=("at similarity > 0.4: FAR 0.02",),
        tables={"curve.parquet": pa.table({"far": [0.5], "tar": [1.0]})},
        curves={"roc.png": curve},
    )


def test_all_of_it_is_written(tmp_path: Path) -> None:
    folder = tmp_path / "evaluation-verification"
    check_target(folder, force=False)
    files = write_outcome(folder, "verification", outcome(), {"embeddings": "photos.parquet"})
    assert (
        sorted(files)
        == sorted(path.name for path in folder.iterdir())
        == ["curve.parquet", "metrics.json", "roc.png"]
    )
    written = json.loads((folder / "metrics.json").read_text())
    assert written["metrics"]["TAR@FAR=1e-2"]["threshold"] == 0.4321
    assert (written["protocol"], written["probes"], written["embeddings"]) == (
        "verification",
        7,
        "photos.parquet",
    )
    assert pq.read_table(folder / "curve.parquet")["tar"].to_pylist() == [1.0]
    with Image.open(folder / "roc.png") as picture:
        ink = np.asarray(picture.convert("L")) < 200
    assert ink.mean() > 0.005
    with pytest.raises(InputError, match="--force"):
        check_target(folder, force=False)
    check_target(folder, force=True)


def test_what_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(plots, "draw", full)
    with pytest.raises(InputError, match="No space left"):
        write_outcome(tmp_path / "out", "verification", outcome(), {})
    assert list(tmp_path.iterdir()) == []


def test_without_matplotlib_the_rest_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcome_folder, "find_spec", lambda name: None)
    files = write_outcome(tmp_path / "out", "verification", outcome(), {})
    assert sorted(files) == ["curve.parquet", "metrics.json"]


@pytest.mark.parametrize(
    ("files", "message"),
    [(["diary.txt"], "holds other files .diary.txt."), (["curve.parquet"], "of no evaluation")],
)
def test_files_of_others_are_never_replaced(tmp_path: Path, files: list[str], message: str) -> None:
    for name in files:
        (tmp_path / name).write_text("mine")
    with pytest.raises(InputError, match=message):
        check_target(tmp_path, force=True)


def test_the_table_is_aligned_and_says_thresholds() -> None:
    assert outcome().in_words().splitlines() == [
        "metric         value  95 % interval     threshold",
        "-----------------------------------------------------------",
        "TAR@FAR=1e-2  0.7500  [0.7000, 0.8000]  similarity > 0.4321",
        "TAR@FAR=1e-9       -",
        "on 7 probes",
        "at similarity > 0.4: FAR 0.02",
    ]
