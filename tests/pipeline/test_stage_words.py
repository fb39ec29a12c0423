"""The words of each stage's summary: units a person knows, nothing that is empty or unknown."""

from __future__ import annotations

from typing import Any

import pytest

from subspace.pipeline.stage_words import STAGE_WORDS, summary_in_words

CLUSTER = {
    "subspaces": 12, "recall_queries": 1000, "smallest": 98, "largest": 1102, "recall@10": 0.6106,
    "overlapping_recall": 0.6106, "gain": 7.9, "similarity": 0.61, "plain_similarity": 0.62, "inside": 0.38,
    "between": 0.1, "kept": 0.0743, "duplicates": 3,
}  # fmt: skip


@pytest.mark.parametrize(
    ("stage", "summary", "words"),
    [
        ("extract", {"identities": 2000, "quarantined": 3, "images_per_second": 1899.7},
         "2,000 identities, 3 unreadable images, 1,900 images/s"),
        ("extract", {"identities": 1, "quarantined": 0, "images_per_second": None}, "1 identity"),
        ("cluster", CLUSTER,
         "12 subspaces of 98 to 1,102 identities, 61 % of nearest neighbours kept, "
         "likeness to the round before 0.07 (adjusted Rand index), 3 suspected duplicates"),
        ("cluster", {"duplicates": 900, "in_duplicates": 400, "identities": 1000},
         "900 suspected duplicates (not yet reliable: 40 % of the identities have one)"),
        ("cluster", {"duplicates": 9, "in_duplicates": 18, "identities": 1000}, "9 suspected duplicates"),
        ("cluster", CLUSTER | {"kept": None, "duplicates": 0},
         "12 subspaces of 98 to 1,102 identities, 61 % of nearest neighbours kept"),
        ("cluster", {"subspaces": 2, "smallest": 8, "largest": 8}, "2 subspaces of 8 identities"),
        ("cluster", CLUSTER | {"subspaces": 1, "kept": 1.0, "duplicates": None},
         "one subspace of 1,102 identities"),
        ("plan", {"batches": 400, "singletons": 0, "hardness": 0.4123, "random_hardness": 0.2178},
         "400 batches, nearest other identity at cosine 0.41 (random 0.22)"),
        ("plan", {"batches": 1, "singletons": 12}, "1 batch, 12 identities with one image"),
        ("train", {"steps": 400, "loss": 0.1432, "active_fraction": 0.2, "seconds": 3.0, "images_per_second": 3900.2},
         "400 steps, loss 0.143, 20 % of triplets active, 3,900 images/s"),
        ("pretrain", {"steps": 20, "loss": None, "active_fraction": None}, "20 steps"),
        ("pretrain", {"steps": 0}, "no steps: the network as it was given"),
        ("eval", {"Rank-1": 0.898, "TAR@FAR=1e-3": 0.9161}, "Rank-1 89.8 %, TAR@FAR=1e-3 91.6 %"),
        ("validate", {"Rank-1": 0.5, "TAR@FAR=1e-6": None}, "Rank-1 50.0 %"),
        ("clean", {"images_left": 1200, "share": 0.25}, "images left 1,200, share 0.25"),
    ],
)  # fmt: skip
def test_words(stage: str, summary: dict[str, Any], words: str) -> None:
    assert summary_in_words(stage, summary) == words


@pytest.mark.parametrize("stage", STAGE_WORDS)
def test_a_marker_of_another_version_may_lack_any_figure(stage: str) -> None:
    assert summary_in_words(stage, {}) == ""
