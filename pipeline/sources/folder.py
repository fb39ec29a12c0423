"""A folder of images: whose each is says its sub-folder or a pattern in its name, and perhaps which split."""

# pyarrow.compute makes its functions when it is imported, out of a type checker's sight.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from ...mining.errors import InputError
from ...mining.remote import is_url, url_of
from .file_names import (
    REID_SPLITS,
    SHARDS,
    NamePattern,
    image_suffixes,
    split_and_role,
    suffix_counts,
    suffix_of,
)
from .image_spool import ImageSpool
from .listing import REFUSED, Listing, refused_rows, with_roles
from .options import SourceOptions, Track
from .remote_listing import AT_ONCE, RemoteEntry, RemoteFolders
from .splits import SPLITS

_COLUMNS = ("identity", "uri", "split", "group", "role")


def list_folder(source: Path, options: SourceOptions, spool: ImageSpool, progress: Track) -> Listing:
    """List the images below the folder `source`: identity and uri, and split, group and query or gallery where said.

    The identity of an image is its parent folder relative to `source`, with `/` between the parts, as in
    torchvision's ImageFolder; where the first level holds nothing but splits (`train/alice/1.jpg`), relative to
    its split. With `label_regex` it is what the pattern finds in the file's name, in whatever folder that lies.
    Hidden files and __MACOSX are skipped. Symbolic links are followed, since a curated subset often is a folder of
    them, except one that leads back to a folder around it. Files that are no images are counted by suffix.

    Rows come in the order of the file system. A million files take about 3 s and 150 MB.

    Raises:
        InputError: no images, an image outside any sub-folder, an unreadable folder, a name that is not UTF-8.
    """
    folder = url_of(source) or str(source.resolve())
    pattern = None if options.label_regex is None else NamePattern(options.label_regex)
    walk = _Walk(folder, pattern)
    try:
        with walk.scan(folder) as entries:
            level = [
                entry.name for entry in filter(_visible, entries) if entry.is_dir() or walk.is_image(entry)
            ]
        by_split = bool(level) and all(split_and_role(name)[0] in SPLITS for name in level)
        by_split = by_split and not (pattern and pattern.has_split)
        if pattern is None and not by_split:
            _refuse_splits_as_people(folder, level)
        parts = [("", "", "")]
        if by_split:
            parts = [(*split_and_role(name), name) for name in level]
        images = (row for split, role, below in parts for row in walk.images(split, role, below))
        tables = list(_tables(progress(images)))
    except OSError as error:
        raise InputError(f"cannot read {error.filename}: {error.strerror}; check its permissions") from error
    if not tables:
        raise _nothing(folder, walk)
    rows = pa.concat_tables(tables)
    given = {
        "split": by_split or bool(pattern and pattern.has_split),
        "group": bool(pattern and pattern.has_group),
    }
    rows = rows.drop_columns([name for name, there in given.items() if not there])
    return Listing(
        rows=with_roles(rows),
        reading=_reading(pattern, by_split),
        notes=tuple(walk.notes()) + tuple(_distractors(rows, options.junk) if pattern else ()),
        refused=refused_rows(walk.unmatched) if walk.unmatched else REFUSED.empty_table(),
        split_folders=by_split
        and not any(role for _, role, _ in parts)
        and not (pattern and pattern.has_identity),
        counted=True,
    )


class _Walk:
    """Goes through a folder, and counts what it sees there."""

    def __init__(self, folder: str, pattern: NamePattern | None) -> None:
        self.folder, self.pattern = folder, pattern
        self._remote = RemoteFolders(folder) if is_url(folder) else None
        self.scan = os.scandir if self._remote is None else self._remote.scan
        self.other: Counter[str] = Counter()
        """Files that are no images, by suffix."""
        self.shard: tuple[str, str] | None = None
        """The folder and the ending of a file that is a source of its own."""
        self.unmatched: list[tuple[str, str, str]] = []
        self._suffixes = image_suffixes()

    def is_image(self, entry: os.DirEntry[str] | RemoteEntry) -> bool:
        return entry.name.lower().endswith(self._suffixes)

    def images(self, split: str, role: str, part: str) -> Iterator[tuple[str, str, str, str, str]]:
        """Identity, path, split, group and role of every image below the sub-folder `part`."""
        for below, entry in self._files(f"{self.folder.rstrip('/')}/{part}" if part else self.folder):
            if self.pattern is None:
                if not below:
                    raise InputError(
                        f"{entry.path} has no identity; move it to a folder named after one, or say where its name "
                        "has it (--label-regex)"
                    )
                yield below, entry.path, split, "", role
                continue
            relative = "/".join(filter(None, (part, below)))
            found = self.pattern.parts(relative, entry.name)
            if found is None:
                self.unmatched.append(
                    (below, entry.path, f"--label-regex {self.pattern.text} finds nothing in it")
                )
                continue
            identity = below if found.identity is None else found.identity
            if not identity:
                raise InputError(
                    f"{entry.path} has no identity by --label-regex {self.pattern.text}; correct it"
                )
            yield (
                identity,
                entry.path,
                split if found.split is None else found.split,
                found.group or "",
                role if found.split is None else found.role,
            )

    def _files(self, top: str) -> Iterator[tuple[str, os.DirEntry[str] | RemoteEntry]]:
        """Yield (folder relative to `top`, entry) of every image below `top`."""
        stack: list[tuple[str, str, tuple[str, ...]]] = [("", top, (top,))]
        while stack:
            if self._remote is not None:
                self._remote.ahead([waiting for _, waiting, _ in stack[-AT_ONCE:]])
            below, folder, around = stack.pop()
            with self.scan(folder) as entries:
                for entry in filter(_visible, entries):
                    if entry.is_dir():
                        name = f"{below}/{entry.name}" if below else entry.name
                        links = _link(entry)
                        if not any(_leads_back(link, (*around, os.path.realpath(folder))) for link in links):
                            stack.append((name, entry.path, around + links))
                    elif self.is_image(entry):
                        yield below, entry
                    else:
                        self.other[suffix_of(entry.name)] += 1
                        if entry.name.lower().endswith(SHARDS):
                            self.shard = self.shard or (below, suffix_of(entry.name))

    def notes(self) -> Iterator[str]:
        """What was left aside."""
        if self.other:
            yield f"{self.other.total():,} files that are no images left aside: {suffix_counts(self.other)}"


def _refuse_splits_as_people(folder: str, level: list[str]) -> None:
    """Raise InputError where sub-folders that are splits of a re-identification set would be identities."""
    splits = sorted(name for name in level if name.lower() in REID_SPLITS)
    if len(splits) > 1:
        raise InputError(
            f"{folder} holds {' and '.join(splits)}, which are splits and not identities; say what paths mean, as in "
            r"--label-regex '^(?P<split>bounding_box_train|bounding_box_test|query)/(?P<identity>-?\d+)_c(?P<group>\d+)' "
            "--on-bad-image quarantine"
        )


def _reading(pattern: NamePattern | None, by_split: bool) -> str:
    where = "paths" if pattern and pattern.by_path else "file names"
    pattern_says = f"label-regex in {where}"
    identity = pattern_says if pattern and pattern.has_identity else "folder"
    split = pattern_says if pattern and pattern.has_split else "first folder level" if by_split else "none"
    group = pattern_says if pattern and pattern.has_group else "none"
    return f"identity: {identity}; split: {split}; group: {group}"


def _nothing(folder: str, walk: _Walk) -> InputError:
    if walk.unmatched:
        text = walk.pattern.text if walk.pattern else ""
        return InputError(
            f"{folder}: --label-regex {text} finds nothing in any of {len(walk.unmatched):,} images, the first is "
            f"{walk.unmatched[0][1]}; correct the pattern"
        )
    seen = f" but {suffix_counts(walk.other)}" if walk.other else ""
    if walk.shard is not None:
        below, suffix = walk.shard
        where = "/".join(filter(None, (folder, below, f"*{suffix}")))
        return InputError(
            f"{folder} holds no images{seen}; shards so deep in it, or tables of this program, are not looked for: give "
            f"the files, as in subspace ingest {where}"
        )
    kinds = " ".join(image_suffixes())
    return InputError(f"{folder} holds no images{seen} ({kinds}); put those of each identity in a sub-folder")


def _distractors(rows: pa.Table, junk: tuple[str, ...]) -> Iterator[str]:
    """Market-1501 and DukeMTMC name no person 0: its images show many people, whom no query asks for."""
    counts = rows["identity"].filter(pc.match_substring_regex(rows["identity"], "^0+$")).value_counts()
    for found in counts.to_pylist():
        name = found["values"]
        if name not in junk:
            yield (
                f"identity {name} has {found['counts']:,} images: where it stands for distractors, as in Market-1501, "
                f"leave it out (--junk -1 --junk {name})"
            )


def _link(entry: os.DirEntry[str] | RemoteEntry) -> tuple[str, ...]:
    """The real folder that `entry` leads to, if it is a symbolic link."""
    return (os.path.realpath(entry.path),) if entry.is_symlink() else ()


def _leads_back(target: str, around: tuple[str, ...]) -> bool:
    """Whether `target` is one of the real folders `around`, or holds one."""
    return any(path == target or path.startswith(target.rstrip("/") + "/") for path in around)


def _visible(entry: os.DirEntry[str] | RemoteEntry) -> bool:
    return not entry.name.startswith(".") and entry.name != "__MACOSX"


def _tables(images: Iterable[tuple[str, ...]], rows: int = 65_536) -> Iterator[pa.Table]:
    """Collect rows in Arrow tables, so that few of them are Python strings at any time."""
    images = iter(images)
    while some := list(islice(images, rows)):
        try:
            columns = [pa.array(column, pa.large_string()) for column in zip(*some, strict=True)]
        except UnicodeEncodeError as error:
            raise InputError(f"the path {error.object!r} is not UTF-8; rename the file or folder") from error
        yield pa.table(columns, names=_COLUMNS)
