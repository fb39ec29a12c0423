"""`subspace search --out page.html` in a browser: hostile names stay text, pictures load, on a phone and in the dark too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from browser.page_faults import faults
from browser.system_chromium import OpenPage
from PIL import Image

from subspace.mining.embedding_files import embedding_writer
from subspace.pipeline.console import Console
from subspace.pipeline.options import Options
from subspace.pipeline.searching.answer_queries import answer_all
from subspace.pipeline.searching.index_request import IndexRequest, index_rows
from subspace.pipeline.searching.search_request import SearchRequest

HOSTILE = (
    "<img src=x onerror=alert(1)>",
    '"><script>alert(2)</script>',
    "a name of one word " + "w" * 300,
    "plain name",
)
QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Answers to two queries, one of them unknown, from four identities; one picture is not there any more."""
    folder = tmp_path_factory.mktemp("search")
    images = [folder / f"{number} picture.png" for number in range(4)]
    for image, colour in zip(images[:3], ("red", "green", "blue"), strict=True):
        Image.new("RGB", (60, 40), colour).save(image)
    for file, vectors, names in (
        ("rows.parquet", np.eye(4), HOSTILE),
        ("queries.parquet", np.array([[1, 0.9, 0.8, 0.7], [-1, -1, -1, -0.5]]), ("", "")),
    ):
        with embedding_writer(
            folder / file, 4, columns=["identity"], network="net", normalized=False
        ) as writer:
            columns = {"image": list(map(str, images[: len(names)])), "identity": list(names)}
            writer.write(vectors.astype(np.float32), columns)
    index_rows(IndexRequest(folder / "rows.parquet", folder / "index"), Options(QUIET))
    request = SearchRequest(
        folder / "index", (folder / "queries.parquet",), top=4, threshold=0.4, out=folder / "page.html"
    )
    answer_all(request, QUIET)
    return folder / "page.html"


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_a_page_of_answers(open_page: Callable[..., OpenPage], answers: Path, width: int, dark: bool) -> None:
    opened = open_page(answers, width, dark=dark)
    assert faults(opened) == []
    page = opened.page
    assert page.locator("img").count() == 2 + 3
    assert page.locator("text=no picture").count() == 2
    assert page.locator(".name").all_inner_texts() == [*HOSTILE, "unknown", f"nearest: {HOSTILE[3]}"]
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == (
        "rgb(21, 23, 26)" if dark else "rgb(255, 255, 255)"
    )
