"""search.json: what is kept is read, of other settings it is stale, and an epoch of failures is refused.

Covers pipeline/loss_search/request.py and pipeline/loss_search/plot.py, too.
"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from subspace.mining.errors import InputError, StaleArtifactError
from subspace.pipeline.loss_search.plot import draw
from subspace.pipeline.loss_search.record import Candidate, Epoch, SearchRecord
from subspace.pipeline.loss_search.request import Request
from subspace.train.loss_search.spaces import Space

GOOD, BETTER = Candidate([0.1], "done", 0.5, 1.0), Candidate([0.2], "done", 0.7, 1.0)
FAILED = Candidate([0.3], "diverged", None, 1.0)


def test_what_is_kept_is_read(tmp_path: Path) -> None:
    path = tmp_path / "search.json"
    record = SearchRecord.open(path, {"sigma": 0.2}, "again")
    assert record.epochs == []
    assert record.add([GOOD, BETTER, BETTER, FAILED]).best == 1
    record.add([FAILED, GOOD])
    assert SearchRecord.open(path, {"sigma": 0.2}, "again").epochs == record.epochs
    with pytest.raises(StaleArtifactError, match=r"--sigma 0\.2, now it is 0\.3; set it back.*`again`"):
        SearchRecord.open(path, {"sigma": 0.3}, "again")
    with pytest.raises(InputError, match="all 2 candidates of epoch 3 diverged or collapsed"):
        record.add([FAILED, FAILED])


@pytest.mark.parametrize("epochs", [
    [{"candidates": [], "best": 0}], [{"candidates": [{"theta": [0.1], "state": "done", "reward": 0.5, "seconds": 1.0}], "best": 1}],
    [{"candidates": [{"theta": [0.1], "state": "diverged", "reward": 0.5, "seconds": 1.0}], "best": 0}], [3], "x",
])  # fmt: skip
def test_a_damaged_file_is_one_line(tmp_path: Path, epochs: object) -> None:
    path = tmp_path / "search.json"
    path.write_text(json.dumps({"fingerprint": "a", "fields": {}, "epochs": epochs}))
    with pytest.raises(
        StaleArtifactError, match=r"^\S*search\.json is damaged: [^\n]*; search again: `again`$"
    ):
        SearchRecord.open(path, {}, "again")


OPTIONS = {
    "bins": 6, "scale": 16.0, "epochs": 10, "candidates": 4, "sigma": 0.2, "eta": 0.05, "learns": True,
}  # fmt: skip


def test_epochs_share_the_plan() -> None:
    assert Request.checked("am-lfs", steps=None, **OPTIONS).steps_of(405) == 40
    with pytest.raises(
        InputError, match="10 epochs of 41 steps are 410, but the plan has 405 batches: give --steps 40"
    ):
        Request.checked("am-lfs", steps=41, **OPTIONS).steps_of(405)


def test_an_epoch_ends_with_an_update_of_the_network() -> None:
    whole, given = (Request.checked("am-lfs", steps=steps, **OPTIONS) for steps in (None, 12))
    assert [whole.steps_of(405, accumulate) for accumulate in (1, 8, 16, 40)] == [40, 40, 32, 40]
    assert given.steps_of(405, 4) == 12
    with pytest.raises(InputError, match=r"--steps 12: the network is updated every 8 batches .* such as 16"):
        given.steps_of(405, 8)
    with pytest.raises(
        InputError, match=r"10 epochs need 41 batches \(train.accumulate\) each, but the plan has 405"
    ):
        whole.steps_of(405, 41)


@pytest.mark.parametrize(("options", "said"), [
    ({"sigma": float("nan")}, "--sigma nan must be a number from 1e-06 to 10"), ({"scale": 0.0}, "--scale 0 must be"),
    ({"candidates": 1}, "--candidates 1 teaches nothing"), ({"epochs": 4000}, "4000 epochs need a batch each"),
])  # fmt: skip
def test_options_out_of_range_are_said(options: dict[str, float], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Request.checked("am-lfs", steps=None, **{**OPTIONS, **options}).steps_of(405)


@pytest.mark.parametrize(
    ("space", "moved"),
    [
        (Space("am-lfs", 6, 16.0), 0.1),
        (Space("search-softmax", 1, 64.0), 0.1),
        (Space("search-softmax", 1, 64.0), 0.6),
    ],
)
def test_the_plot_is_whole(space: Space, moved: float) -> None:
    """Beyond a margin of 0.57 at scale 64 it ended in a ZeroDivisionError."""
    curve = space.curve(space.start + moved)
    page = ET.fromstring(draw(curve, [Epoch([GOOD, BETTER, FAILED], 1)] * 12, "Rank-1", "a < b"))
    words = [each.text for each in page.iter("{http://www.w3.org/2000/svg}text")]
    assert "a < b" in words
    assert "Rank-1 of the candidates" in words
    assert len(list(page.iter("{http://www.w3.org/2000/svg}circle"))) == 24
