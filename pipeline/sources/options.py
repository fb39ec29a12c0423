"""How a source is read and becomes a manifest."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from ...mining.errors import InputError
from ..tables.column_options import ColumnOptions
from ..tables.csv_header import delimiter_of

OnBadImage = Literal["fail", "quarantine"]
Quoting = Literal["double", "none"]
CheckRepeats = Literal["all", "identity", "none"]

JUNK = ("-1", "nan", "NaN", "None", "null", "NULL", "<NA>")
"""Identities that are nobody: -1 in Market-1501 and in Hugging Face data sets, the others where data frames, JSON and
databases write as text that a value is missing."""

Track = Callable[[Iterable[Any]], Iterable[Any]]
"""Wraps what a long loop runs over, one image after another, as `tqdm.tqdm` does; `iter` shows nothing."""


@dataclass(frozen=True)
class SourceOptions(ColumnOptions):
    """Where things are in a source."""

    root: Path | None = None
    """Folder that relative image paths start from; the table's own folder when None."""
    delimiter: str | None = None
    """What is between the columns of a CSV: one character, or tab; a comma, in a TSV a tab, when None."""
    newlines_in_values: bool = False
    """Whether values of a CSV in quotes may run over any number of lines, in columns that are used too."""
    quoting: Quoting = "double"
    """What " in a CSV means: `double` as RFC 4180 has it; `none`, text like any other."""
    label_regex: str | None = None
    """Pattern searched in the names of the files of a folder, with groups identity, group or split by name; in
    their paths below the folder where it has a slash."""
    split_map: str | None = None
    """What the source's names of splits mean, as in `eval=test,extras=skip`."""
    identity_level: str | None = None
    """Levels of folders whose names make the identity, as in `1`, `1,2` or `all`; all, if there is one reading, when None."""
    label_key: str | None = None
    """WebDataset: ending of the files with labels, such as cls or json. Arrays: name of the array of labels."""
    image_key: str | None = None
    """WebDataset: ending of the images, such as jpg. Arrays and Parquet: name of the images."""
    labels: Path | None = None
    """File of the labels of a .npy of images; NAME_labels.npy beside it when None."""
    junk: tuple[str, ...] = JUNK
    """Identities that are left out; with an empty one among them, rows without an identity are, too."""
    redraw_splits: bool = False
    """Whether splits are drawn although the source has its own."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.delimiter is not None:
            delimiter_of(self.delimiter)
        if self.quoting not in get_args(Quoting):
            raise InputError(f"--quoting {self.quoting}: give double or none")
        if self.quoting == "none" and self.newlines_in_values:
            raise InputError(
                "--quoting none leaves no value that --newlines-in-values could be for; give one of them"
            )
        if self.label_regex is None:
            return
        try:
            groups = set(re.compile(self.label_regex).groupindex)
        except re.error as error:
            raise InputError(f"--label-regex {self.label_regex}: {error}; correct the pattern") from error
        known = ("identity", "group", "split")
        if not groups or not groups <= set(known):
            has = f"groups named {', '.join(sorted(groups))}" if groups else "no named group"
            raise InputError(
                f"--label-regex {self.label_regex} has {has}; name its groups {', '.join(known)}, as in (?P<identity>\\d+)"
            )
        if "identity" in groups and self.identity_level is not None:
            raise InputError(
                f"--identity-level {self.identity_level} and the group identity of --label-regex both say whose an image "
                "is; give one of them"
            )


@dataclass(frozen=True)
class IngestOptions(SourceOptions):
    """How a source becomes a manifest. The fractions count only where the source has no splits of its own."""

    test_fraction: float = 0.1
    """Share of the identities that are held out for evaluation; each has two or more images."""
    val_fraction: float = 0.0
    """Share of the identities that are held out to choose settings by."""
    pretrain_fraction: float = 0.0
    """Share of the training identities that also serve pretraining."""
    seed: int = 0
    """Seed of the draw of splits."""
    on_bad_image: OnBadImage = "fail"
    """What to do about an image that is missing or has no bytes: refuse, or leave it out and list it."""
    check_repeats: CheckRepeats = "all"
    """Among which images those of equal bytes are looked for: all, or those of one identity (then images of two
    identities are compared by place alone), or none. One place in one file is one image of an identity in any case; images inside
    tables and arrays are compared in any case."""
    min_images: int = 1
    """Identities with fewer images that are kept (`keep`) are left out."""
    max_images: int | None = None
    """An identity with more images keeps so many, drawn by `seed`; None: all stay. Queries, galleries and images that
    are not kept neither count nor are they drawn."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("test_fraction", "val_fraction", "pretrain_fraction"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(
                    f"--{name.replace('_', '-')} {getattr(self, name)}: give a share from 0 to 1"
                )
        if self.test_fraction + self.val_fraction >= 1:
            held_out = f"--test-fraction {self.test_fraction} and --val-fraction {self.val_fraction}"
            raise InputError(f"{held_out} leave no identity to train on; give less than 1 together")
        if self.on_bad_image not in get_args(OnBadImage):
            raise InputError(f"--on-bad-image {self.on_bad_image}: give fail or quarantine")
        if self.check_repeats not in get_args(CheckRepeats):
            raise InputError(f"--check-repeats {self.check_repeats}: give all, identity or none")
        if self.min_images < 1:
            raise InputError(f"--min-images {self.min_images}: give 1 or more")
        if self.max_images is not None and self.max_images < self.min_images:
            raise InputError(f"--max-images {self.max_images}: give --min-images, {self.min_images}, or more")
        if self.seed < 0:
            raise InputError(f"--seed {self.seed}: give 0 or more")
