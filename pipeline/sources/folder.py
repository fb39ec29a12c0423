"""A folder of images: whose each is says its sub-folder or a pattern in its name, and perhaps which split."""

# pyarrow.compute makes its functions when it is imported, out of a type checker's sight.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import pyarrow as pa

from ...mining.errors import InputError
from ...mining.remote import is_url, url_of
from ..rows.image_spool import ImageSpool
from .file_names import (
    LeftAside,
    NamePattern,
    image_suffixes,
    is_aside,
    not_decoded,
    suffix_counts,
)
from .layout import (
    Part,
    distractors,
    identity_levels,
    is_split,
    levels_in_words,
    nested_refusal,
    nested_split,
    refuse_two_readings,
    split_parts,
)
from .listing import REFUSED, Listing, refused_rows, with_roles
from .options import SourceOptions, Track
from .remote_listing import AT_ONCE, RemoteEntry, RemoteFolders
from .split_names import parse_split_map

_MARKET = re.compile(r"-?\d+_c\d")
_DEEPEST = 16
"""Folders around a source that are entered at most: links may lead round."""
_WHOLE = Part("", "", "")
_COLUMNS = ("identity", "uri", "split", "group", "role")


def list_folder(source: Path, options: SourceOptions, spool: ImageSpool, progress: Track) -> Listing:
    """List the images below the folder `source`: identity and uri, and split, group and query or gallery where said.

    Where the first level is made of splits (`train/alice/1.jpg`, or what `split_map` says), images have theirs. The
    identity is the folder below; with several levels all of them, with `/` between, or those of `identity_level`.
    With `label_regex` it is what the pattern finds in the file's name, in whatever folder that lies. A source that
    holds one folder with splits in it is that folder. Hidden files and folders of file systems are skipped. Symbolic
    links are followed, since a curated subset often is a folder of them, except one that leads back to a folder
    around it. Files that are no images are counted by suffix.

    Rows come in the order of the file system. A million files take about 3 s and 150 MB.

    Raises:
        InputError: no images, an image outside any sub-folder, an unreadable folder, a name that is not UTF-8, or
            levels of folders that can be read in two ways.
    """
    folder = url_of(source) or str(source.resolve())
    meant = {} if options.split_map is None else parse_split_map(options.split_map)
    walk = _Walk(folder, options)
    pattern, levels = walk.pattern, walk.levels
    said: list[str] = []
    try:
        if not (walk.unlabelled or (pattern and pattern.has_split)):
            said += walk.enter_only_folder(meant)
        parts, more = walk.first_level({} if pattern and pattern.has_split else meant)
        said += more
        images = (row for part in parts or [_WHOLE] for row in walk.images(part))
        tables = list(_tables(progress(images)))
    except OSError as error:
        raise InputError(f"cannot read {error.filename}: {error.strerror}; check its permissions") from error
    if not tables:
        raise _nothing(walk)
    rows = pa.concat_tables(tables)
    if levels is None and not (pattern and pattern.has_identity) and not options.unlabelled:
        said += refuse_two_readings(walk.folder, rows["identity"], in_splits=bool(parts))
    elif walk.nested and not (options.redraw_splits or (pattern and pattern.has_split)):
        raise nested_refusal(walk.folder, walk.nested)
    given = {
        "split": bool(parts) or bool(pattern and pattern.has_split),
        "group": bool(pattern and pattern.has_group),
    }
    rows = rows.drop_columns([name for name, there in given.items() if not there])
    return Listing(
        rows=with_roles(rows),
        reading=_reading(walk, bool(parts)),
        notes=(*said, *walk.aside.notes(), *(distractors(rows, options.junk) if pattern else ())),
        refused=refused_rows(walk.unmatched) if walk.unmatched else REFUSED.empty_table(),
        split_folders=bool(parts)
        and not any(part.role for part in parts)
        and not (pattern and pattern.has_identity),
        splits_mapped=not (pattern and pattern.has_split),
        counted=True,
    )


class _Walk:
    """Goes through a folder, and counts what it sees there."""

    def __init__(self, folder: str, options: SourceOptions) -> None:
        self.folder, self.unlabelled = folder, options.unlabelled
        self.pattern = None if options.label_regex is None else NamePattern(options.label_regex)
        self.levels = None if options.identity_level is None else identity_levels(options.identity_level)
        self._remote = RemoteFolders(folder) if is_url(folder) else None
        self.scan = os.scandir if self._remote is None else self._remote.scan
        self.aside = LeftAside()
        self.unmatched: list[tuple[str, str, str]] = []
        self.nested = ""
        """A folder below the first level, or below a split, that is called as a split, and that nothing explains."""
        self.deepest = 1
        """Levels of folders above an image, the split not counted."""
        self._suffixes = image_suffixes()

    def _named_as_image(self, name: str) -> bool:
        return name.lower().endswith(self._suffixes)

    def enter_only_folder(self, meant: Mapping[str, str]) -> Iterator[str]:
        """Take the only folder that is there, at any depth, for the source if it holds splits, as archives unpack; say so."""
        top, passed, around = self.folder, [], []
        while True:
            folders, files = self._level(top)
            if any(is_split(name) or name in meant for name in folders):
                break
            if files or len(folders) != 1 or len(passed) == _DEEPEST:
                return
            around.append(top)
            top = f"{top.rstrip('/')}/{folders[0]}"
            passed.append(folders[0])
        if passed:
            self.folder = top
            self._count_aside(around)
            yield f"{'/'.join(passed)} is all that the folder holds: its folders are read as the first level"

    def first_level(self, meant: Mapping[str, str]) -> tuple[list[Part], list[str]]:
        """The splits on the first level, none where a pattern finds them."""
        if self.unlabelled or (self.pattern and self.pattern.has_split):
            return [], []
        parts, notes = split_parts(self.folder, *self._level(self.folder), meant, self._holds_image)
        if parts:
            self._count_aside([self.folder])
        return parts, notes

    def _level(self, folder: str) -> tuple[list[str], list[str]]:
        """Names of the folders and of the images that lie in `folder`."""
        with self.scan(folder) as entries:
            seen = [(entry.name, entry.is_dir()) for entry in entries if not is_aside(entry.name)]
        folders = [name for name, is_folder in seen if is_folder]
        return folders, [name for name, is_folder in seen if not is_folder and self._named_as_image(name)]

    def _count_aside(self, folders: Sequence[str]) -> None:
        """Count what lies in `folders` themselves and is left aside, where only folders in them are gone through."""
        for folder in folders:
            with self.scan(folder) as entries:
                for entry in entries:
                    is_folder, hidden = entry.is_dir(), is_aside(entry.name)
                    if hidden or not (is_folder or self._named_as_image(entry.name)):
                        self.aside.add(entry.name, is_folder)

    def _holds_image(self, name: str) -> bool:
        """Whether an image lies in the folder `name` of the first level, at any depth."""
        return any(True for _ in self._files(f"{self.folder.rstrip('/')}/{name}"))

    def images(self, part: Part) -> Iterator[tuple[str, str, str, str, str]]:
        """Identity, path, split, group and role of every image below the folder of `part`."""
        split, role, name = part
        before = ""
        for below, entry in self._files(f"{self.folder.rstrip('/')}/{name}" if name else self.folder):
            if below != before:
                before, self.nested = below, self.nested or nested_split(below, name, self.levels)
            if self.pattern is None:
                yield self._identity(below, entry.path), entry.path, split, "", role
                continue
            relative = "/".join(filter(None, (name, below)))
            found = self.pattern.parts(relative, entry.name)
            if found is None:
                self.unmatched.append(
                    (below, entry.path, f"--label-regex {self.pattern.text} finds nothing in it")
                )
                continue
            identity = self._identity(below, entry.path) if found.identity is None else found.identity
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

    def _identity(self, below: str, path: str) -> str:
        """What the folders `below` the source or a split say of whose the image is."""
        if self.unlabelled:
            return ""
        if not below:
            market = " '^(?P<identity>-?\\d+)_c(?P<group>\\d+)' --on-bad-image quarantine, as for Market-1501"
            pattern = market if _MARKET.match(path.rpartition("/")[2]) else ""
            raise InputError(
                f"{path} has no identity; move it to a folder named after one, or say where its name has it "
                f"(--label-regex{pattern})"
            )
        depth = below.count("/") + 1
        self.deepest = max(self.deepest, depth)
        if not self.levels:
            return below
        if max(self.levels) > depth:
            raise InputError(
                f"{path} lies in {depth} folders, and --identity-level {','.join(map(str, self.levels))} names a deeper one"
            )
        names = below.split("/")
        return "/".join(names[level - 1] for level in self.levels)

    def _files(self, top: str) -> Iterator[tuple[str, os.DirEntry[str] | RemoteEntry]]:
        """Yield (folder relative to `top`, entry) of every image below `top`."""
        stack: list[tuple[str, str, tuple[str, ...]]] = [("", top, (top,))]
        while stack:
            if self._remote is not None:
                self._remote.ahead([waiting for _, waiting, _ in stack[-AT_ONCE:]])
            below, folder, around = stack.pop()
            with self.scan(folder) as entries:
                for entry in entries:
                    if is_aside(entry.name):
                        self.aside.add(entry.name, entry.is_dir(), below)
                    elif entry.is_dir():
                        name = f"{below}/{entry.name}" if below else entry.name
                        links = _link(entry)
                        if not any(_leads_back(link, (*around, os.path.realpath(folder))) for link in links):
                            stack.append((name, entry.path, around + links))
                    elif self._named_as_image(entry.name):
                        yield below, entry
                    else:
                        self.aside.add(entry.name, False, below)


def _reading(walk: _Walk, by_split: bool) -> str:
    if walk.unlabelled:
        return "identity: none; split: none; group: none"
    pattern, levels = walk.pattern, walk.levels or range(1, walk.deepest + 1)
    pattern_says = f"label-regex in {'paths' if pattern and pattern.by_path else 'file names'}"
    identity = pattern_says if pattern and pattern.has_identity else levels_in_words(levels)
    split = pattern_says if pattern and pattern.has_split else "first folder level" if by_split else "none"
    group = pattern_says if pattern and pattern.has_group else "none"
    return f"identity: {identity}; split: {split}; group: {group}"


def _nothing(walk: _Walk) -> InputError:
    folder = walk.folder
    if walk.unmatched:
        text = walk.pattern.text if walk.pattern else ""
        return InputError(
            f"{folder}: --label-regex {text} finds nothing in any of {len(walk.unmatched):,} images, the first is "
            f"{walk.unmatched[0][1]}; correct the pattern"
        )
    seen = f" but {suffix_counts(walk.aside.other)}" if walk.aside.other else ""
    if decoders := not_decoded(walk.aside.other):
        return InputError(f"{folder} holds no images that are decoded here{seen}; {'; '.join(decoders)}")
    if walk.aside.shard is not None:
        below, suffix = walk.aside.shard
        where = "/".join(filter(None, (folder, below, f"*{suffix}")))
        return InputError(
            f"{folder} holds no images{seen}; shards so deep in it, or tables of this program, are not looked for: give "
            f"the files, as in subspace ingest {where}"
        )
    kinds = " ".join(image_suffixes())
    return InputError(f"{folder} holds no images{seen} ({kinds}); put those of each identity in a sub-folder")


def _link(entry: os.DirEntry[str] | RemoteEntry) -> tuple[str, ...]:
    """The real folder that `entry` leads to, if it is a symbolic link."""
    return (os.path.realpath(entry.path),) if entry.is_symlink() else ()


def _leads_back(target: str, around: tuple[str, ...]) -> bool:
    """Whether `target` is one of the real folders `around`, or holds one."""
    return any(path == target or path.startswith(target.rstrip("/") + "/") for path in around)


def _tables(images: Iterable[tuple[str, ...]]) -> Iterator[pa.Table]:
    """Collect rows in Arrow tables, so that few of them are Python strings at any time."""
    images = iter(images)
    while some := list(islice(images, 65_536)):
        try:
            columns = [pa.array(column, pa.large_string()) for column in zip(*some, strict=True)]
        except UnicodeEncodeError as error:
            raise InputError(f"the path {error.object!r} is not UTF-8; rename the file or folder") from error
        yield pa.table(columns, names=_COLUMNS)
