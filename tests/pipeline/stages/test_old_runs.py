"""A run made before there was a table of stages goes on: its settings are read, and its markers hold.

`run_before_the_table.json` is the settings file and the markers of such a run.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from subspace.mining import SubspaceWarning
from subspace.mining.fingerprints import fingerprint_of
from subspace.pipeline.stages.context import Context
from subspace.pipeline.stages.graph import STAGES

STORED: dict[str, Any] = json.loads(Path(__file__).with_name("run_before_the_table.json").read_text())


@pytest.fixture
def old_run(small_manifest: Path, tmp_path: Path) -> Path:
    run = tmp_path / "run"
    for name, marker in STORED["markers"].items():
        folder, stage = name.split("/")
        path = run / folder / "done" / f"{stage}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(marker))
    (run / "subspace.yaml").write_text(STORED["settings"].replace("MANIFEST", str(small_manifest)))
    return run


def test_fields_are_those_of_the_markers(old_run: Path) -> None:
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        context = Context.open(old_run)
    said = [str(warning.message) for warning in warned if warning.category is SubspaceWarning]
    assert [line.split()[0] for line in said] == ["train.loss_args.multi_similarity.threshold", "overlap"]
    compared = 0
    for index in (-1, 0, 1):
        for stage in STAGES:
            if not stage.works_in(index):
                continue
            at = context.at_round(index)
            then = STORED["markers"][f"{at.folder.name}/{stage.name}"]["fields"]
            now = {**stage.stage(at).fields, "code": then["code"]}
            if "manifest" in now:  # another one here
                now["manifest"] = then["manifest"]
            assert now == then, stage.name
            compared += 1
    assert compared == len(STORED["markers"]) == 15


def test_a_fingerprint_is_still_the_same_hash_of_the_fields() -> None:
    for name, marker in STORED["markers"].items():
        assert fingerprint_of(marker["fields"]) == marker["fingerprint"], name
