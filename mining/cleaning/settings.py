"""Settings of `subspace clean`; without torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ..settings import Settings

Reason = Literal["wrong_name", "mixed", "outlier", "unfit", "duplicate", "repeat", "shared"]
REASONS: dict[Reason, str] = {
    "wrong_name": "nearer to another identity than to its own",
    "mixed": "in the lesser half of an identity that looks like two",
    "outlier": "no nearer to its identity than a stranger",
    "unfit": "not learned by a classifier that was fitted to the names",
    "duplicate": "an identity that is as near to another as two halves of one",
    "repeat": "nearly the same picture as another image of its identity",
    "shared": "nearly the same picture as an image of another identity",
}
"""Why an image or an identity is suspected, in the order in which the first one counts."""


class CleanConfig(Settings):
    """What `subspace clean` looks for, and what it drops."""

    method: Literal["strangers", "overfit"] = Field(
        default="strangers",
        description="wrong images are those that resemble their identity no more than strangers do; overfit: those that a "
        "classifier over the names cannot fit (the paper's removal)",
    )
    probability: float = Field(
        default=0.5, gt=0, le=1, description="suspects are at least so likely to be wrong; higher finds fewer"
    )
    drop: tuple[Reason, ...] = Field(
        default=("wrong_name", "mixed", "outlier", "unfit"),
        description=f"reasons for which images get keep=false, of {', '.join(REASONS)}; the others are only listed",
    )
    min_images: int = Field(
        default=2, ge=1, description="identities that lose images and have fewer left are dropped altogether"
    )
    duplicates_within: float = Field(
        default=1.5,
        gt=0,
        description="how much farther apart than two halves of one identity duplicates may be, as cluster.duplicates_within",
    )
    repeat_similarity: float = Field(
        default=0.999, gt=0, le=1, description="cosine from which two images are nearly the same picture"
    )
    overfit_epochs: int = Field(
        default=3,
        ge=1,
        description="method=overfit: passes over the images; with more, wrong names are learned by heart",
    )
    overfit_classes: int = Field(
        default=2048,
        ge=3,
        description="method=overfit: identities that a classifier tells apart; each has one",
    )
    overfit_rounds: int = Field(
        default=2, ge=1, description="method=overfit: fits, each without what the one before could not fit"
    )
