"""The map of identities and what its script is given."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from subspace.pipeline.pictures.round_sample import RoundSample
from subspace.pipeline.report.run_report import RunReport
from subspace.pipeline.report_sections.identity_map import NEIGHBORS, drawn_points, make_identity_map
from subspace.pipeline.run_directory import RunDirectory


@pytest.fixture(scope="module")
def html(finished_run: Path) -> str:
    return str(make_identity_map(RunReport.open(finished_run)).html)


def data_of(html: str) -> dict:
    found = re.search(r'<script type="application/json" id="map-data">(.*?)</script>', html, re.DOTALL)
    assert found
    return json.loads(found[1])


def test_neighbours_are_those_of_a_loop(finished_run: Path, html: str) -> None:
    table = pq.read_table(finished_run / "round-001" / "identities.parquet")
    home = pq.read_table(finished_run / "round-001" / "subspaces.parquet")["subspace_id"].to_pylist()
    names, means = table["identity"].to_pylist(), np.stack(table["mean"].to_numpy())
    data = data_of(html)
    place = {name: number for number, name in enumerate(names)}
    assert [name for name, *_ in data["identities"]] == names
    for name, near in zip(names, data["near"], strict=True):
        row = place[name]
        others = [other for other in range(len(names)) if other != row and home[other] == home[row]]
        wanted = sorted(others, key=lambda other: -float(means[row] @ means[other]))[:NEIGHBORS]
        assert [data["identities"][other][0] for other, _ in near] == [names[other] for other in wanted]
        cosines = [float(means[row] @ means[other]) for other in wanted]
        np.testing.assert_allclose([cosine for _, cosine in near], cosines, atol=6e-4)


def test_every_identity_has_a_point_and_pictures(html: str) -> None:
    data = data_of(html)
    assert html.count('role="button" tabindex="0"') == 1, "one stop of the Tab key, arrows do the rest"
    assert html.count('class="point ') == len(data["near"])
    for _, _, images in data["identities"]:
        assert images
        assert all(data["pictures"][number].startswith("data:image/webp") for number in images)
    assert data["unreadable"] == []


def test_of_many_identities_some_and_their_nearest_are_drawn(finished_run: Path) -> None:
    sample = RoundSample.draw(RunDirectory(finished_run).round(1), seed=0)
    some = drawn_points(sample, seed=0, most=20)
    share = 20 // len(sample.subspaces)
    assert len(set(some.tolist())) == len(some)
    assert np.bincount(sample.home[some]).max() <= share
    assert drawn_points(sample, seed=0, most=20).tolist() == some.tolist()
    assert drawn_points(sample, seed=0, most=10_000).tolist() == list(range(len(sample.rows)))


def test_the_same_seed_gives_the_same_bytes(finished_run: Path, html: str) -> None:
    assert str(make_identity_map(RunReport.open(finished_run)).html) == html
