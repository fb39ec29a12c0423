"""Settings of the examination on test and on validation identities: who is compared, and by which metrics."""

from __future__ import annotations

from pydantic import Field, field_validator

from ..settings import Settings
from .identification import rank_names
from .registry import parse_metric
from .verification import tar_names


class EvalConfig(Settings):
    """Identification and verification on the test identities.

    >>> EvalConfig(metrics=["Rank-1", "TAR@FAR=0.0001", "coverage@P=0.95"]).metric_names
    ('Rank-1', 'TAR@FAR=1e-4', 'coverage@P=0.95')
    """

    probes_per_identity: int | None = Field(
        default=4, ge=1, description="null: all other images of the identity"
    )
    distractors: int = Field(default=100_000, ge=0, description="at most this many, one image each")
    ignore_groups: bool = Field(
        default=False,
        description="compare images of one group (camera, album) as well; true where groups leave no pairs",
    )
    metrics: tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        description="metrics by name, such as [Rank-1, TAR@FAR=1e-4, coverage@P=0.95]; null: Rank-k of `ks` and "
        "TAR@FAR of `fars`",
    )
    ks: tuple[int, ...] = Field(default=(1, 5), min_length=1, description="k of Rank-k")
    fars: tuple[float, ...] = Field(default=(1e-2, 1e-3, 1e-4), min_length=1, description="FAR of TAR@FAR")
    bootstrap: int = Field(default=200, ge=10, description="resamplings of the identities for 95 % intervals")
    flip: bool = Field(
        default=False,
        description="embed each image with its mirror image, the mean of both at unit length, for twice the time",
    )

    @field_validator("metrics")
    @classmethod
    def _names_are_known(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return names and tuple(dict.fromkeys(str(parse_metric(name)) for name in names))

    @field_validator("ks")
    @classmethod
    def _ranks_are_ranks(cls, ks: tuple[int, ...]) -> tuple[int, ...]:
        rank_names(ks)
        return ks

    @field_validator("fars")
    @classmethod
    def _rates_are_rates(cls, fars: tuple[float, ...]) -> tuple[float, ...]:
        tar_names(fars)
        return fars

    @property
    def metric_names(self) -> tuple[str, ...]:
        """What an examination with these settings measures."""
        return self.metrics or (*rank_names(self.ks), *tar_names(self.fars))


class ValidationConfig(EvalConfig):
    """Identification and verification on the validation identities, after each round.

    >>> ValidationConfig(ks=[1], fars=[1e-3]).metric_names
    ('Rank-1', 'TAR@FAR=1e-3')
    """

    probes_per_identity: int | None = Field(
        default=2, ge=1, description="null: all other images of the identity"
    )
    distractors: int = Field(default=10_000, ge=0, description="at most this many, one image each")
    bootstrap: int = Field(default=50, ge=10, description="resamplings of the identities for 95 % intervals")
    identities: int | None = Field(
        default=10_000, ge=2, description="at most this many, drawn by seed; null: all"
    )
