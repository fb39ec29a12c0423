"""What `subspace eval --protocol` is asked for; without torch, so that a wrong option is refused at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...mining.errors import InputError


@dataclass(frozen=True)
class ProtocolRequest:
    """The options of a protocol, as they were given.

    >>> ProtocolRequest(query=("test",), rerank=True).given
    {'query': ('test',), 'rerank': True}
    """

    pairs: Path | None = None
    """A list of pairs: InsightFace's .bin, LFW's pairs.txt, or a table."""
    root: Path | None = None
    """Where the images of a list lie."""
    templates: tuple[Path, ...] = ()
    """Lists of templates, and of what is compared with what."""
    query: tuple[str, ...] = ()
    """Splits whose images are looked for."""
    gallery: tuple[str, ...] = ()
    """Splits whose images are looked through."""
    metrics: tuple[str, ...] = ()
    """By name; empty: those of the protocol."""
    threshold: float | None = None
    """A similarity whose error rates are wanted."""
    rerank: bool = False
    """Rank once more by k-reciprocal neighbours."""

    def __post_init__(self) -> None:
        if self.threshold is not None and not -1 <= self.threshold <= 1:
            raise InputError(
                f"--threshold {self.threshold:g}: give a similarity (cosine) between -1 and 1, such as 0.4"
            )
        if bool(self.query) != bool(self.gallery):
            given, missing = ("--query", "--gallery") if self.query else ("--gallery", "--query")
            raise InputError(f"{given} goes with {missing}; give both, or neither")

    @property
    def given(self) -> dict[str, object]:
        """The options that are not left as they were."""
        return {name: value for name, value in vars(self).items() if value not in (None, (), False)}
