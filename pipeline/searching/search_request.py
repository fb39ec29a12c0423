"""What `subspace search` is asked for; options that do not go together are refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from ...mining.errors import InputError
from ...mining.index.gallery import Stages
from .network_of_index import NetworkOptions
from .write_answers import check_out


@dataclass(frozen=True)
class SearchRequest:
    """What is looked for, and how.

    Raises:
        InputError: options that do not go together.
    """

    index: Path
    queries: tuple[Path, ...]
    top: int = 10
    T: int = 100
    stages: Stages = "two"
    list_images: bool = False
    exact: bool = False
    far: float | None = None
    threshold: float | None = None
    network: NetworkOptions = field(default_factory=NetworkOptions)
    """What embeds images; nothing: what the index was made with, where it was then."""
    device: str | None = None
    out: Path | None = None
    dry_run: bool = False

    def __post_init__(self) -> None:
        if self.out is not None:
            check_out(self.out, self.queries)
        if self.stages not in get_args(Stages):
            raise InputError(f"--stages {self.stages}: give {', '.join(get_args(Stages))}")
        if self.far is not None and self.threshold is not None:
            raise InputError("--far finds a threshold, --threshold gives one; leave one of them out")
        if self.threshold is not None and not -1 <= self.threshold <= 1:
            raise InputError(f"--threshold {self.threshold:g}: cosines lie between -1 and 1")
