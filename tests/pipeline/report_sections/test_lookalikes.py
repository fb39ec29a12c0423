"""The gallery and the batches, and what all sections with pictures share. Covers pipeline/report_sections/shown.py, too."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from subspace.mining.parquet_tables import write_parquet
from subspace.mining.schemas import PLAN
from subspace.pipeline.pictures.picture_book import Picture
from subspace.pipeline.report.run_report import RunReport
from subspace.pipeline.report.section import fill_section
from subspace.pipeline.report_sections.lookalikes import Pair, chain, make_lookalikes
from subspace.pipeline.report_sections.shown import Shown, unreadable_note

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>\x1b[2J'


class Page(HTMLParser):
    """Tags and attributes of some HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [found for name, found in self.tags if name == tag]


@pytest.fixture(scope="module")
def page(finished_run: Path) -> Page:
    return Page(str(make_lookalikes(RunReport.open(finished_run)).html))


def test_pictures_have_words_and_wait_until_they_are_seen(page: Page) -> None:
    pictures = page.all("img")
    assert len(pictures) > 40
    for picture in pictures:
        assert str(picture["src"]).startswith("data:image/webp;base64,")
        assert picture["alt"]
        assert picture["loading"] == "lazy"
        assert picture["width"] == picture["height"]


def test_pairs_are_of_one_subspace(finished_run: Path) -> None:
    html = str(make_lookalikes(RunReport.open(finished_run)).html)
    table = pq.read_table(finished_run / "round-001" / "identities.parquet")
    home = pq.read_table(finished_run / "round-001" / "subspaces.parquet")["subspace_id"].to_pylist()
    names, means = table["identity"].to_pylist(), np.stack(table["mean"].to_numpy())
    alts = [
        str(picture["alt"]) for picture in Page(html).all("img") if ", looks like " in str(picture["alt"])
    ]
    name, other = alts[0].split(", looks like ")
    a, b = names.index(name), names.index(other)
    assert home[a] == home[b]
    inside = [float(means[i] @ means[j]) for i in range(len(names)) for j in range(i) if home[i] == home[j]]
    assert f"cosine <b>{max(inside):.3f}</b>" in html
    assert float(means[a] @ means[b]) == pytest.approx(max(inside), abs=1e-6)


def test_batches_stand_beside_random_ones(page: Page) -> None:
    groups = [found.get("aria-label") for found in page.all("div") if found.get("role") == "group"]
    assert groups.count("from one subspace") == 2
    assert groups.count("from everybody") == 2


def with_other_column(finished_run: Path, path: Path, name: str, value: Callable[[Any], Any]) -> Path:
    """A copy of the run whose last plan has other values in a column."""
    run = shutil.copytree(finished_run, path, symlinks=True)
    for part in (run / "round-001" / "plan").glob("*.parquet"):
        rows = pq.read_table(part)
        values = pa.array([value(old) for old in rows[name].to_pylist()], PLAN.columns.field(name).type)
        table = rows.set_column(rows.schema.get_field_index(name), name, values)
        write_parquet(part, PLAN, table, "0")
    return run


def test_batches_are_as_their_plan_says_whatever_the_settings_are_now(
    finished_run: Path, tmp_path: Path
) -> None:
    # another subspace than the first identity's own, as that of one which is in two of them
    run = with_other_column(finished_run, tmp_path / "run", "subspace_id", lambda _: 77)
    settings = (run / "subspace.yaml").read_text()
    assert 'strategy: "custom"' in settings
    (run / "subspace.yaml").write_text(settings.replace('strategy: "custom"', "strategy: random"))
    html = str(make_lookalikes(RunReport.open(run)).html)
    groups = [found.get("aria-label") for found in Page(html).all("div") if found.get("role") == "group"]
    assert (groups.count("from one subspace"), groups.count("from everybody")) == (2, 2)
    assert html.count("of the plan, subspace 77") == 2


def test_batches_of_identities_that_the_round_has_not_are_left_out(
    finished_run: Path, tmp_path: Path
) -> None:
    known = pq.read_table(finished_run / "round-001" / "identities.parquet")["identity_id"].to_pylist()
    outside = sorted(set(range(max(known))) - set(known))
    run = with_other_column(finished_run, tmp_path / "run", "identity_ids", lambda ids: outside[: len(ids)])
    html = str(make_lookalikes(RunReport.open(run)).html)
    assert "looks like" in html
    assert "of the plan" not in html


def test_the_same_seed_gives_the_same_bytes(finished_run: Path) -> None:
    one, again, other = (make_lookalikes(RunReport.open(finished_run, seed=seed)).html for seed in (0, 0, 1))
    assert one == again
    assert one != other


def test_names_are_shown_and_never_obeyed() -> None:
    shown = Shown(HOSTILE, [Picture("data:image/webp;base64,AA==", HOSTILE, True)])
    html = str(
        fill_section(
            "lookalikes", "Title", answer=HOSTILE, pairs=[Pair(shown, shown, "0.9", 1)], batches=[], notes=[HOSTILE]
        ).html
    )  # fmt: skip
    page = Page(html)
    assert not page.all("script")
    assert len(page.all("img")) == 2
    assert not any("onerror" in attributes for _, attributes in page.tags)
    assert "\x1b" not in html


def test_without_images_there_are_placeholders_and_without_a_manifest_a_sentence(
    finished_run: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(finished_run, tmp_path / "run", symlinks=True)
    settings = (run / "subspace.yaml").read_text().splitlines()
    (run / "subspace.yaml").write_text(
        "\n".join("manifest: gone.parquet" if line.startswith("manifest:") else line for line in settings)
    )
    html = str(make_lookalikes(RunReport.open(run)).html)
    assert "gone.parquet cannot be read, so there are no pictures to show." in html
    assert unreadable_note([Picture("", "", True), Picture("", "", False)]) == [
        "1 of 2 images could not be read; a grey cross stands for each."
    ]


def test_near_ones_stand_side_by_side() -> None:
    angle = np.array([0.0, 2.0, 0.1, 1.9, 0.3])
    rows = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    cosine = rows @ rows.T
    np.fill_diagonal(cosine, -np.inf)
    assert chain(cosine) == [0, 2, 4, 3, 1]
    assert chain(cosine[:1, :1]) == [0]
