"""Lines for people: aligned numbers, words for keys, nothing empty."""

from __future__ import annotations

import numpy as np

from subspace.pipeline.inspection.summary import Summary, histogram


def test_numbers_end_in_one_column_and_empty_facts_are_left_out() -> None:
    summary = Summary("a/path", "thing", title="a thing")
    summary.add("images", 1234)
    summary.add("embedding_size", 128, "embedding size", "numbers")
    summary.add("share", 0.5)
    summary.add("losses", [])
    summary.add("parent", None)
    summary.add("note", "")
    summary.add("inside", True)
    summary.add_bytes(12_345)
    assert summary.lines() == [
        "a/path: a thing",
        "  images          1,234",
        "  embedding size    128 numbers",
        "  share           0.500",
        "  inside          yes",
        "  size             12.3 kB",
    ]
    assert set(summary.facts) == {
        "images", "embedding_size", "share", "losses", "parent", "note", "inside", "bytes"
    }  # fmt: skip
    assert set(summary.to_json()) == {"path", "kind", "facts", "histograms"}


def test_a_spread_is_the_median_and_what_90_percent_lie_between() -> None:
    summary = Summary("a", "b")
    summary.add_spread("cosine (5 %, median, 95 %)", np.arange(101) / 100, "cosine")
    assert summary.facts["cosine (5 %, median, 95 %)"] == [0.05, 0.5, 0.95]
    assert summary.lines()[1] == "  cosine  0.500 median; 90 % between 0.050 and 0.950"
    summary.add_spread("none", np.zeros(0), "none")
    assert summary.facts["none"] == []
    assert len(summary.lines()) == 2


def test_columns_without_a_word_are_left_out_of_tables() -> None:
    summary = Summary("a", "b")
    summary.show_table("files", [["name", "rows", "what"], ["x", "", "text"], ["long", "", "w"]], text=(0, 2))
    assert [line.rstrip() for line in summary.lines()[2:]] == [
        "  files", "  name  what", "  ----------", "  x     text", "  long  w"
    ]  # fmt: skip


def test_histograms_count_every_value() -> None:
    values = np.random.default_rng(0).integers(0, 1000, 500)
    bins = histogram(values)
    assert len(bins) <= 8
    assert sum(count for _, count in bins) == 500
    assert histogram(np.zeros(0, int)) == []
    summary = Summary("a", "b", histograms={"sizes": [("98", 1), ("100-110", 1200)]})
    assert [line.partition(" █")[0] for line in summary.lines()[2:]] == [
        "  sizes", "         98      1", "    100-110  1,200"
    ]  # fmt: skip


def test_what_would_command_a_terminal_is_not_printed() -> None:
    summary = Summary("a\x1b[2J", "b")
    assert "\x1b" not in summary.lines()[0]
