"""What names of image files say: whether it is an image, and by a pattern whose it is, from which camera and split."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from .splits import canonical_split

_SUFFIXES = (
    ".jpg",
    ".jpeg",
    ".jpe",
    ".jfif",
    ".png",
    ".apng",
    ".bmp",
    ".dib",
    ".tif",
    ".tiff",
    ".gif",
    ".tga",
    ".qoi",
)
_SUFFIXES += (".pgm", ".ppm", ".pbm", ".pnm")
_HEIF = (".heic", ".heif")
_WHERE_BUILT = {"webp": (".webp",), "avif": (".avif", ".avifs")}
_WHERE_BUILT |= {"jpg_2000": (".jp2", ".j2k", ".jpx", ".jpf", ".jpc", ".j2c")}
"""Endings by the feature that Pillow was built with, or without."""

SHARDS = (".parquet", ".tar", ".rec")
"""Endings of files of which a folder may hold many in place of images."""

_OF_FILE_SYSTEMS = {
    "__macosx",
    "@eadir",
    "#recycle",
    "@recycle",
    "#snapshot",
    "lost+found",
    "$recycle.bin",
    "recycler",
}
_OF_FILE_SYSTEMS |= {"system volume information", "found.000"}

QUERY_SPLITS = {"query": "test", "image_query": "test"}
"""Splits of re-identification sets whose images are asked for, and what each is here."""
GALLERY_SPLITS = {"gallery": "test", "bounding_box_test": "test", "image_test": "test"}
"""Splits whose images are searched."""
TRAIN_SPLITS = {"bounding_box_train": "train", "image_train": "train"}
REID_SPLITS = {**QUERY_SPLITS, **GALLERY_SPLITS, **TRAIN_SPLITS}
"""Folders of re-identification sets, such as Market-1501, and the split that each is."""


def split_and_role(name: str) -> tuple[str, str]:
    """The split that `name` means, and query, gallery or empty where that does not say.

    Example:
        >>> split_and_role("bounding_box_test"), split_and_role("Validation"), split_and_role("ann")
        (('test', 'gallery'), ('val', ''), ('ann', ''))
    """
    low = name.lower()
    role = "query" if low in QUERY_SPLITS else "gallery" if low in GALLERY_SPLITS else ""
    return REID_SPLITS.get(low) or canonical_split(name), role


@cache
def image_suffixes() -> tuple[str, ...]:
    """Endings of the images that this installation decodes, with their dots."""
    from PIL import Image, features

    from ...train.data.images import heif_is_known

    heif_is_known()  # it adds its endings
    Image.init()
    known = {suffix for suffix, name in Image.registered_extensions().items() if name in Image.OPEN}
    built = [suffix for feature, own in _WHERE_BUILT.items() if features.check(feature) for suffix in own]
    return tuple(suffix for suffix in (*_SUFFIXES, *built, *_HEIF) if suffix in known)


def not_decoded(counts: Counter[str]) -> list[str]:
    """What would decode files that are images and are left aside, by their counts by suffix.

    Example:
        >>> not_decoded(Counter({".txt": 3}))
        []
    """
    can = image_suffixes()
    heif = sum(counts[suffix] for suffix in _HEIF if suffix not in can)
    other = [
        suffix for own in _WHERE_BUILT.values() for suffix in own if suffix not in can and counts[suffix]
    ]
    notes = [f"{heif:,} HEIC images left aside: pip install pillow-heif, and ingest again"] if heif else []
    if other:
        left = sum(counts[suffix] for suffix in other)
        notes.append(
            f"{left:,} images left aside ({' '.join(other)}): this Pillow was built without their decoder"
        )
    return notes


def is_aside(name: str) -> bool:
    """Whether a file or folder is hidden, or is one that a file system or an archiver puts beside people's own.

    Example:
        >>> [is_aside(name) for name in ("@eaDir", ".thumbnails", "._1.jpg", "ann")]
        [True, True, True, False]
    """
    return name.startswith(".") or name.lower() in _OF_FILE_SYSTEMS


def suffix_of(name: str) -> str:
    """The ending of a file's name in small letters, such as `.jpg`, or "no suffix"."""
    stem, dot, suffix = name.rpartition(".")
    return f".{suffix.lower()}" if dot and stem else "no suffix"


def suffix_counts(counts: Counter[str], most: int = 6) -> str:
    """Counts by suffix in words, the most frequent first: ".txt 12, .xml 3"."""
    ranked = sorted(counts.items(), key=lambda found: (-found[1], found[0]))
    said = [f"{suffix} {count:,}" for suffix, count in ranked[:most]]
    rest = sum(count for _, count in ranked[most:])
    return ", ".join([*said, *([f"others {rest:,}"] if rest else [])])


class LeftAside:
    """Counts what a source holds and its reader leaves aside, by names.

    Example:
        >>> aside = LeftAside()
        >>> aside.add("notes.txt", False), aside.add("@eaDir", True), aside.add("._1.jpg", False)
        (None, None, None)
        >>> len(list(aside.notes()))
        3
    """

    def __init__(self) -> None:
        self.other: Counter[str] = Counter()
        """Files that are no images, by suffix."""
        self.junk: Counter[str] = Counter()
        """Folders of file systems, by name, and hidden ones."""
        self.hidden: list[str] = []
        """Hidden files that are called as images."""
        self.shard: tuple[str, str] | None = None
        """The folder and the ending of a file that is a source of its own."""

    def add(self, name: str, is_folder: bool, below: str = "") -> None:
        """Count a file, or a folder that is not gone into, which lies in the folder `below`."""
        if is_folder:
            self.junk[name] += 1
        elif is_aside(name):
            if name.lower().endswith(image_suffixes()):
                self.hidden.append(name)
        else:
            self.other[suffix_of(name)] += 1
            if name.lower().endswith(SHARDS):
                self.shard = self.shard or (below, suffix_of(name))

    def notes(self) -> Iterator[str]:
        """What was left aside."""
        if self.other:
            yield f"{self.other.total():,} files that are no images left aside: {suffix_counts(self.other)}"
            yield from not_decoded(self.other)
        if self.junk:
            names = ", ".join(f"{name} {count:,}" for name, count in self.junk.most_common(4))
            yield f"{self.junk.total():,} folders of file systems, or hidden ones, left aside: {names}"
        if self.hidden:
            yield f"{len(self.hidden):,} hidden images left aside, such as {min(self.hidden)}"


class NameParts(NamedTuple):
    """What a pattern found in a name; None where the pattern has no such group."""

    identity: str | None
    group: str | None
    split: str | None
    role: str
    """query, gallery, or empty where the split does not say."""


class NamePattern:
    """A regular expression with groups `identity`, `group` and `split`, in any number of names.

    It is searched in the name of a file; in the path below the source where the pattern has a slash, so that
    `^(?P<split>bounding_box_train|query)/(?P<identity>\\d+)_c(?P<group>\\d+)` reads Market-1501 as it is unpacked.

    Example:
        >>> pattern = NamePattern(r"^(?P<identity>-?\\d+)_c(?P<group>\\d+)")
        >>> pattern.parts("query", "0002_c1s1_000451_03.jpg")
        NameParts(identity='0002', group='1', split=None, role='')
        >>> pattern.parts("", "Thumbs.jpg") is None
        True
    """

    def __init__(self, text: str) -> None:
        self._search = re.compile(text).search
        self._groups = tuple(name in re.compile(text).groupindex for name in ("identity", "group", "split"))
        self.text = text
        self.by_path = "/" in text

    @property
    def has_split(self) -> bool:
        """Whether it finds splits."""
        return self._groups[2]

    @property
    def has_group(self) -> bool:
        """Whether it finds groups."""
        return self._groups[1]

    @property
    def has_identity(self) -> bool:
        """Whether it finds identities; folders name them where it does not."""
        return self._groups[0]

    def parts(self, folder: str, name: str) -> NameParts | None:
        """What is said by the name of a file in `folder`, which is relative to the source; None where nothing fits.

        A group that took no part in the match is an empty text.
        """
        match = self._search(f"{folder}/{name}" if self.by_path and folder else name)
        if match is None:
            return None
        found = match.groupdict("")
        split, role = found.get("split"), ""
        if split is not None:
            split, role = split_and_role(split)
        return NameParts(found.get("identity"), found.get("group"), split, role)
