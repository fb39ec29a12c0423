"""The kinds of source, and what reads each.

A reader gets (sources, options, spool, progress) and returns a `Listing`, a row per image. Bytes of images that lie
inside a source go to the spool, one per row. A new kind of source is a file of this folder and a line of `READERS`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from ...mining.errors import InputError
from ...mining.remote import refuse_unknown_scheme, url_of
from ..rows.image_spool import ImageSpool
from .arrays import list_npy, list_npz
from .folder import list_folder
from .image_list import list_lst
from .listing import Listing, joined, named, streamed
from .options import SourceOptions, Track
from .record_io import list_records
from .shard_folder import COMPRESSED, all_shards_of
from .split_names import SplitNames, parse_split_map
from .table import list_csv, list_parquet
from .webdataset import list_webdataset

Reader = Callable[[Sequence[Path], SourceOptions, ImageSpool, Track], Listing]
OneReader = Callable[[Path, SourceOptions, ImageSpool, Track], Listing]


@dataclass(frozen=True)
class Kind:
    """A kind of source."""

    name: str
    """In the plural, for messages."""
    read: Reader
    options: frozenset[str]
    """The fields of SourceOptions that say something about it."""


def kind(name: str, read: OneReader, *options: str) -> Kind:
    """A kind whose sources are read one by one."""

    def read_each(
        sources: Sequence[Path], options: SourceOptions, spool: ImageSpool, progress: Track
    ) -> Listing:
        listings = [read(source, options, spool, progress) for source in sources]
        return joined(sources, listings, redraw=options.redraw_splits)

    return Kind(name, read_each, frozenset(options))


_WHO = ("identity_column", "split_column", "no_split_column", "group_column", "no_group_column")
_COLUMNS = (*_WHO, "path_column", "box_columns", "box_format", "no_box_columns")
_TABLE = Kind(
    "tables", list_csv, frozenset({"root", "delimiter", "newlines_in_values", "quoting", *_COLUMNS})
)
_ALWAYS = {"no_keep_column", "junk", "redraw_splits", "split_map", "unlabelled"}
"""Fields of SourceOptions that say something about every kind."""

FOLDER = "folder"
READERS: dict[str, Kind] = {
    FOLDER: kind("folders", list_folder, "label_regex", "split_map", "identity_level"),
    ".csv": _TABLE,
    ".tsv": _TABLE,
    ".parquet": kind("Parquet files", list_parquet, "root", *_COLUMNS, "image_key"),
    ".tar": Kind("tars", list_webdataset, frozenset({"label_key", "image_key", *_WHO})),
    ".lst": kind("lists of images", list_lst, "root"),
    ".rec": kind("RecordIO files", list_records),
    ".npy": kind(".npy files", list_npy, "labels"),
    ".npz": kind(".npz files", list_npz, "label_key", "image_key"),
}
"""Kinds by the suffix of a file, such as `.csv`, or by the scheme of a URL, such as `s3:`."""

_COMPRESSED = "no place in it can be pointed at, so it would be unpacked for every image; unpack it once"
_REFUSED = {
    **dict.fromkeys(COMPRESSED, _COMPRESSED),
    ".zip": "its members are compressed; unpack it to a folder",
    ".pkl": "a pickle runs code when it is read; save it as .npz or Parquet",
    ".pickle": "a pickle runs code when it is read; save it as .npz or Parquet",
    ".bin": "InsightFace's .bin holds test pairs, which `subspace eval CHECKPOINT --protocol pairs --pairs FILE.bin` reads; to "
    "train, give the .rec",
    ".idx": "it only says where records begin; give the .rec beside it",
}
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+:(?=/)")


def read_sources(
    sources: Sequence[Path], options: SourceOptions, spool: ImageSpool, progress: Track
) -> Listing:
    """List the images of one source, or of several of one kind.

    Raises:
        InputError: nothing is there, nothing reads it, they are of several kinds, or an option has no meaning there.
    """
    files, notes = all_shards_of(sources)
    kinds = {id(found): found for found in map(reader_of, files)}
    if len(kinds) != 1:
        names = " and ".join(found.name for found in kinds.values())
        raise InputError(
            f"{named(sources)}: these are {names}; ingest one kind at a time, and join the manifests"
        )
    (found,) = kinds.values()
    for field in fields(SourceOptions):
        given = getattr(options, field.name) != field.default
        if given and field.name not in {*found.options, *_ALWAYS}:
            option = "--" + field.name.replace("_", "-")
            raise InputError(f"{option} says nothing about {found.name} such as {files[0]}; leave it out")
    listing = found.read(files, options, spool, progress)
    listing = _with_known_splits(listing, named(sources), options, inline=len(spool.images()) > 0)
    if options.redraw_splits and "split" in listing.rows.schema.names:
        notes.append("the source's own splits are left aside (--redraw-splits)")

    def later() -> list[str]:
        if options.root is None or listing.any_relative:
            return []
        return [f"--root {options.root} is not used: all paths are absolute"]

    return replace(listing, notes=(*listing.notes, *notes), later=(*listing.later, later))


def _with_known_splits(listing: Listing, source: str, options: SourceOptions, inline: bool) -> Listing:
    """The listing with splits by the names that they have here; one that says nothing is refused as it passes."""
    if "split" not in listing.rows.schema.names or options.redraw_splits:
        if options.split_map is not None and not listing.splits_mapped and not options.redraw_splits:
            raise InputError(f"--split-map says nothing about {source}, where no split is read; leave it out")
        return listing
    mapped = parse_split_map(options.split_map or "")
    # of folders the map has been followed, and what it says is there by now
    names = SplitNames(
        source,
        {} if listing.splits_mapped else mapped,
        inline,
        known=mapped.values() if listing.splits_mapped else (),
    )
    nothing = listing.rows.schema.empty_table()
    rows = streamed(names.canonical(nothing).schema, names.tables(listing.tables()))
    return replace(listing, rows=rows, later=(*listing.later, names.notes))


def reader_of(source: Path) -> Kind:
    """What reads `source`.

    Raises:
        InputError: nothing is there, or nothing reads its kind.
    """
    scheme = _SCHEME.match(str(source))
    if scheme and scheme[0] in READERS:
        return READERS[scheme[0]]
    if scheme and scheme[0] == "hf:":
        name = str(source).removeprefix("hf:").strip("/").removeprefix("datasets/")
        raise InputError(
            f"hf://{name} is not read over the network, as training reads images many times over; download it once "
            "(hf download NAME --repo-type dataset --local-dir FOLDER), and give the folder"
        )
    url = url_of(source)
    if url is not None:
        refuse_unknown_scheme(url)
    if url is not None and source.suffix.lower() not in (*READERS, *_REFUSED):
        return READERS[FOLDER]  # what it is shows when it is listed
    if source.is_dir():
        return READERS[FOLDER]
    suffixes = " ".join(kind for kind in READERS if kind.startswith("."))
    wanted = f"give a folder of images or a {suffixes} file"
    if url is None and not source.exists():
        if re.search(r"[*?{\[]", str(source)):
            raise InputError(f"{source} does not exist; a pattern is for the shell: write it without quotes")
        raise InputError(f"{source} does not exist; {wanted}")
    suffix = source.suffix.lower()
    if suffix in _REFUSED:
        raise InputError(f"{source} is refused: {_REFUSED[suffix]}")
    if suffix not in READERS:
        raise InputError(f"{source} cannot be read as a source; {wanted}")
    return READERS[suffix]
