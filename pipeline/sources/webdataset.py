"""WebDataset: tars of samples, as a table of places inside them.

A sample is the files of one name up to its first dot: `7/000123.jpg`, `7/000123.cls`, `7/000123.json`
(WebDataset's format definition). Which ending is the image and which the label is found in the first shard, said, and
the same for all shards. Headers and labels are read, images are not; shards are read side by side.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pyarrow as pa

from ...mining.errors import InputError
from ...mining.remote import in_words, is_url
from ..rows.image_spool import ImageSpool
from ..tables.boxes import box_like
from ..tables.columns import GROUP_NAMES, SPLIT_NAMES, Columns
from ..tables.label_text import single_label
from .file_names import image_suffixes, not_decoded, suffix_counts
from .listing import Listing, in_one_file, joined, refused_rows
from .options import SourceOptions, Track
from .places import whole_uri
from .source_bytes import Sliced, opened
from .tar_members import Member, members_of_tar

_LABELS = ("cls", "txt", "json")
"""Endings that hold labels by custom. cls is a class and nothing else; the others may be captions and notes."""
_LONGEST_LABEL = 1_000
_LOOKED_AT = 10_000
"""Files of the first shard by which endings are chosen."""
_MANY_BYTES = 1 << 31
"""Bytes of all shards from which on starting other processes is worth its half second."""
_CONNECTIONS = 8
"""Remote shards that are read at once."""
_TEXT = pa.large_string()


@dataclass(frozen=True)
class _Endings:
    """Which files of a sample are what."""

    image: str
    """Empty: any ending of an image."""
    label: str
    fields: Mapping[str, str]
    """Names of the fields of JSON by their roles; empty where the label is the text itself."""
    unused: tuple[str, ...]
    others: tuple[str, ...] = ()
    """Fields of JSON that are not used."""

    def is_image(self, ending: str) -> bool:
        return ending == self.image if self.image else f".{ending}".endswith(image_suffixes())

    def reading(self) -> str:
        image = f".{self.image}" if self.image else "by its ending"
        fields = {role: f"{name} of .{self.label}" for role, name in self.fields.items()}
        identity = fields.get("identity", f".{self.label}" if self.label else "none")
        others = [f"{role}: {fields.get(role, 'none')}" for role in ("split", "group")]
        aside = [f"not used: {' '.join(f'.{ending}' for ending in self.unused)}"] if self.unused else []
        if self.others:
            more = f" and {len(self.others) - 6} more" if len(self.others) > 6 else ""
            aside.append(f"fields not used: {', '.join(self.others[:6])}{more}")
        if boxes := box_like(self.others):
            aside.append(f"boxes in {' '.join(boxes)} are not cut out: images of a tar are taken whole")
        return "; ".join([f"identity: {identity}", f"image: {image}", *others, *aside])

    def unknown(self, field: str) -> bool:
        """Whether a field would be the split or the group, had the first shard had it."""
        absent = {"split": SPLIT_NAMES, "group": GROUP_NAMES}
        return field not in (*self.fields.values(), *self.others) and any(
            field.lower() in names for role, names in absent.items() if role not in self.fields
        )


def list_webdataset(
    sources: Sequence[Path], options: SourceOptions, spool: ImageSpool, progress: Track
) -> Listing:
    """List the images of shards: identity, uri, offset, length; split and group where a JSON label has them.

    A million images with their labels take about 18 s of one core; shards of 2 GiB and more together are read by
    a process a core. Memory is about 400 bytes a file of the largest shard. A sample without a label, with two files
    of one name, or of links is refused.

    Raises:
        InputError: a shard that cannot be read; several files that may be the label or the image, and no option.
    """
    endings = _choose(sources[0], options)
    read = partial(_read_shard, endings=endings)
    listings: list[Listing] = []

    def each_row(found: Iterable[Listing]) -> Iterator[int]:
        for source, listing in zip(sources, found, strict=True):
            listings.append(replace(listing, rows=in_one_file(listing.rows, whole_uri(source))))
            yield from range(len(listing.rows))

    with _shards_at_once(sources) as mapped:
        for _ in progress(each_row(mapped(read, sources))):
            pass
    return joined(sources, listings, redraw=options.redraw_splits)


@contextmanager
def _shards_at_once(sources: Sequence[Path]) -> Iterator[Callable[..., Iterable[Listing]]]:
    """A `map` over shards: by threads that wait for a network, by processes where there is much, or one by one."""
    workers = min(os.cpu_count() or 1, len(sources))
    remote = any(map(is_url, sources))
    if remote:
        pool = ThreadPoolExecutor(min(_CONNECTIONS, len(sources)))
    elif workers > 1 and sum(source.stat().st_size for source in sources if source.exists()) >= _MANY_BYTES:
        pool = ProcessPoolExecutor(workers, get_context("spawn"))
    else:
        yield map
        return
    with pool:
        yield pool.map


def _choose(source: Path, options: SourceOptions) -> _Endings:
    """Choose by the first files of one shard."""
    with opened(source) as data:
        samples = _samples(islice(members_of_tar(data, source), _LOOKED_AT))[0]
        counts = Counter(ending for files in samples.values() for ending in files)
        images = [ending for ending in counts if f".{ending}".endswith(image_suffixes())]
        if options.image_key is not None:
            images = [options.image_key.lstrip(".").lower()]
        missing = [
            one
            for one in (options.image_key, options.label_key)
            if one and one.lstrip(".").lower() not in counts
        ]
        has = " ".join(f".{ending}" for ending in counts) or "no files"
        if missing:
            raise InputError(f"{in_words(source)} has no .{missing[0].lstrip('.')} files; it has {has}")
        if not images:
            raise InputError(f"{in_words(source)} holds no images that can be decoded; it has {has}")
        for name, files in samples.items():
            several = [ending for ending in files if ending in images]
            if len(several) > 1:
                raise InputError(
                    f"{in_words(source)}: {name} has several images, .{' and .'.join(several)}; name one with --image-key"
                )
        label = _label_ending(source, counts, options)
        fields, others = {}, ()
        if label.rpartition(".")[2] == "json":
            labels = [files[label] for files in samples.values() if label in files]
            columns = _columns_of(data, labels, options, source)
            fields, others = columns.names, columns.unused
        elif options.identity_column or options.split_column or options.group_column:
            raise InputError(
                f"{in_words(source)}: columns are fields of JSON, and labels are .{label}; add --label-key json"
            )
    unused = tuple(ending for ending in counts if ending != label and ending not in images)
    return _Endings((options.image_key and images[0]) or "", label, fields, unused, others)


def _columns_of(data: Sliced, labels: Sequence[Member], options: SourceOptions, source: Path) -> Columns:
    """What the fields of JSON say, of all those that some of the samples have."""
    keys: dict[str, None] = {}
    for member in labels:
        found = _json_of(data[member.offset : member.offset + member.length])
        if isinstance(found, dict):
            keys |= dict.fromkeys(found)
        elif member is labels[0]:
            raise InputError(
                f"{in_words(source)}: {member.name} is no JSON object; name another label with --label-key"
            )
    columns = Columns.find(
        list(keys),
        replace(options, no_box_columns=True),
        Path(f"{in_words(source)}: {labels[0].name}"),
        path_needed=False,
    )
    used = {role: name for role, name in columns.names.items() if role in ("identity", "split", "group")}
    return Columns(used, tuple(name for name in keys if name not in used.values()))


def _label_ending(source: Path, counts: Counter[str], options: SourceOptions) -> str:
    if options.unlabelled:
        return ""
    if options.label_key is not None:
        return options.label_key.lstrip(".").lower()
    found = [ending for ending in _LABELS if ending in counts]
    if "cls" in found:
        return "cls"
    if len(found) == 1:
        return found[0]
    has = " ".join(f".{ending}" for ending in counts)
    why = "either of which may be the label" if found else "none of which is known to be a label"
    raise InputError(f"{in_words(source)} has {has}, {why}; name it with --label-key")


Samples = dict[str, dict[str, Member]]


def _samples(members: Iterable[Member]) -> tuple[Samples, dict[str, str], int]:
    """Files by sample and ending, what is wrong with a sample as a whole, and how many files belong to none."""
    samples: Samples = {}
    wrong: dict[str, str] = {}
    no_part = 0
    for member in members:
        folder, slash, name = member.name.rpartition("/")
        stem, dot, ending = name.partition(".")
        if not dot or not stem:
            no_part += 1  # hidden, or without an ending
            continue
        sample, ending = folder + slash + stem, ending.lower()
        files = samples.setdefault(sample, {})
        if ending in files:
            wrong[sample] = f"two files in the tar are named {member.name}"
        files[ending] = member
    return samples, wrong, no_part


def _read_shard(source: Path, endings: _Endings) -> Listing:
    """List one shard, without its uri."""
    uri = whole_uri(source)
    roles = list(endings.fields) or ["identity"]
    rows: list[tuple[Any, ...]] = []
    refused: list[tuple[str, str, str]] = []
    without: Counter[str] = Counter()
    with opened(source) as data:
        samples, wrong, no_part = _samples(members_of_tar(data, source))
        for name, files in samples.items():
            images = [member for ending, member in files.items() if endings.is_image(ending)]
            if not images:
                without.update(f".{ending}" for ending in files)
                continue
            image, label = images[0], files.get(endings.label)
            said, problem = (
                _label(data, label, endings, source) if label else ([], f"no .{endings.label} beside it")
            )
            if not endings.label:  # nobody's
                said, problem = [""], ""
            problem = wrong.get(name) or image.problem or (label and label.problem) or problem
            if len(images) > 1:
                problem = "several images in one sample"
            if problem:
                refused.append((said[0] if said else "", f"{uri}: {image.name}", problem))
            else:
                rows.append((*said, image.offset, image.length))
    types = [_TEXT] * len(roles) + [pa.int64()] * 2
    columns = list(zip(*rows, strict=True)) or [()] * len(types)
    names = [*roles, "offset", "length"]
    table = pa.table([pa.array(column, kind) for column, kind in zip(columns, types, strict=True)], names)
    notes = []
    if without:
        notes.append(f"{in_words(source)}: files without an image left aside: {suffix_counts(without)}")
        notes += not_decoded(without)
    if no_part:
        notes.append(f"{in_words(source)}: {no_part:,} files that are hidden or have no ending left aside")
    return Listing(table, endings.reading(), tuple(notes), refused_rows(refused), counted=True)


def _label(data: Sliced, member: Member, endings: _Endings, source: Path) -> tuple[list[str], str]:
    """What a label says for each role, and what is wrong with it."""
    if member.length > (1 << 20 if endings.fields else _LONGEST_LABEL):
        return [], f"its .{endings.label} of {member.length:,} bytes is too long for a label"
    content = data[member.offset : member.offset + member.length]
    if not endings.fields:
        values: list[Any] = [content]
    else:
        found = _json_of(content)
        if not isinstance(found, dict):
            return [], f"its .{endings.label} is no JSON object"
        if new := next((field for field in found if endings.unknown(field)), None):
            raise InputError(
                f"{in_words(source)}: {member.name} has the field '{new}', which the first files have not; give a tar that "
                "has it first"
            )
        values = [found.get(name) for name in endings.fields.values()]
    said = []
    for role, value in zip(endings.fields or ("identity",), values, strict=True):
        text = single_label(value)
        if text is None or (role == "identity" and not text):
            return (
                [],
                f"the {role} in its .{endings.label} is empty, not UTF-8, a list, or a number with a fraction",
            )
        said.append(text)
    return said, ""


def _json_of(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None
