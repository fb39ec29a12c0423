"""An index made or changed: all rows in order, written beside the old ones, in place by one rename.

The rows of an index lie in a folder with a number; index.json says which one counts. A change writes the next folder whole,
then index.json, then removes the old folder: killed anywhere, the index is as it was or as it should be, and nothing that
was deleted is left. It costs what copying the index costs, and gives the arrays that an index made at once would have.

Shapes: n images, I identities, D numbers in an embedding.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any, Literal

import faiss
import numpy as np
import pyarrow as pa

from ...mining.artifacts import remove, take_room, whole_folder, write_json
from ...mining.errors import InputError
from ...mining.fingerprints import CREATED_BY, fingerprint_of
from ...mining.index.identity_rows import IdentityRows, means_of_rows, order_rows
from ...mining.index.kinds import ChosenKind, choose_kind
from ...mining.index.near_rows import EXACT, Effort, build_index, rows_fitted, settle_effort
from ...mining.index.near_rows import write_index as write_faiss
from ...mining.local_paths import in_shell
from ...mining.parquet_tables import parquet_writer
from ...mining.randomness import generator
from ...mining.schemas import INDEXED_IDENTITIES, INDEXED_IMAGES
from ..console import Console, Progress, amount, counted
from . import index_record as files
from .index_cost import TRIALS, IndexSize, cost_of_index
from .index_record import RECORD, VERSION, describe_file
from .row_sources import RowSource

NAMES_AT_A_TIME = 16_384
"""Names in a row group: what is read for one of them."""
_ROWS = re.compile(r"[0-9]{6}|\.[0-9]{6}\.[0-9]+\.(tmp|old)")
_FILE_OF_ROWS = re.compile(rf"\.?({'|'.join(map(re.escape, files.OF_ROWS))})(\.[0-9]+\.tmp)?")
"""The folder of an index's rows and the files in it, also while they are written."""


@dataclass(frozen=True)
class IndexSettings:
    """What an index is made with, kept when it is changed."""

    dimensions: int
    dtype: Literal["float32", "float16"] = "float32"
    network: str | None = None
    checkpoint: str | None = None
    flip: bool = False
    kind: str = "auto"
    over_images: bool = False
    """An index over the images, too, for one stage."""
    seed: int = 0
    weights: str | None = None
    preprocess: tuple[str, ...] = ()
    """How the network is opened, beside its name."""


def write_folder(
    path: Path,
    sources: Sequence[RowSource],
    settings: IndexSettings,
    console: Console,
    *,
    trained: tuple[faiss.Index | None, faiss.Index | None] = (None, None),
) -> dict[str, Any]:
    """Make the index at `path` of all rows of `sources`; return what `--json` prints. The caller holds its lock.

    Args:
        trained: indexes over means and images whose centroids serve on.

    Raises:
        InputError: damaged embeddings, or a full disk.
    """
    rows = order_rows([(source.identity, source.names) for source in sources])
    n, identities = len(rows.place), len(rows.names)
    chosen = choose_kind(identities, settings.kind)
    over_images = choose_kind(n, settings.kind) if settings.over_images else None
    names_size = sum(source.image.nbytes for source in sources)
    size = IndexSize(n, identities, settings.dimensions, names_size)
    console.say(cost_of_index(size, settings.kind, settings.dtype, over_images=settings.over_images))
    before = _current(path)
    numbers = (path / f"{number:06d}" for number in count(int(before or "0") + 1))
    folder = next(folder for folder in numbers if not folder.exists())
    with whole_folder(folder) as aside:
        total = 2 * n + _rows_to_build(chosen, identities, trained[0])
        if over_images is not None:
            total += _rows_to_build(over_images, n, trained[1])
        with console.progress("index", total, "rows") as progress:
            images_nD = _write_images(aside, rows, sources, settings, progress)
            means_ID = _write_means(aside, images_nD, rows.offset, progress)
            _write_names(aside, rows, sources)
            trial = _draw_trials(images_nD, rows.offset, settings.seed)
            found: dict[str, dict[str, Any] | None] = {"images_index": None}
            for name, array_nD, kind, old, own in (
                ("means_index", means_ID, chosen, trained[0], trial[1]),
                ("images_index", images_nD, over_images, trained[1], trial[0]),
            ):
                if kind is not None:
                    index = build_index(array_nD, kind, settings.seed, progress.update, old)
                    effort = settle_effort(array_nD, index, trial[2], own)
                    found[name] = {"kind": kind.kind, "lists": kind.lists, **asdict(effort)}
                    if index is not None:
                        file = files.MEANS_INDEX if name == "means_index" else files.IMAGES_INDEX
                        write_faiss(index, aside / file)
                    console.say(_in_words(name, kind, effort, len(trial[0])))
        if isinstance(images_nD, np.memmap):
            images_nD.flush()
        whole = chosen.kind == "hnsw" or (over_images is not None and over_images.kind == "hnsw")
        described = {
            file.name: describe_file(file, whole=whole and file.suffix == ".faiss")
            for file in sorted(aside.iterdir())
        }
    record = {
        "version": VERSION,
        "rows": folder.name,
        "dimensions": settings.dimensions,
        "dtype": settings.dtype,
        "identities": identities,
        "images": n,
        "network": settings.network,
        "checkpoint": settings.checkpoint,
        "flip": settings.flip,
        **({"weights": settings.weights} if settings.weights else {}),
        **({"preprocess": list(settings.preprocess)} if settings.preprocess else {}),
        "seed": settings.seed,
        "asked": settings.kind,
        **found,
        "files": described,
    }
    record["fingerprint"] = fingerprint_of(record)
    write_json(path / RECORD, {**record, "created_by": CREATED_BY})
    sweep(path)
    written = sum(file["bytes"] for file in described.values())
    console.say(
        f"{path}: {counted(identities, 'identity', 'identities')}, {counted(n, 'image')}, {amount(written)}"
    )
    return {
        "index": str(path),
        **{key: record[key] for key in ("identities", "images", "dimensions", *found)},
    }


def _rows_to_build(chosen: ChosenKind, rows: int, trained: faiss.Index | None) -> int:
    """Rows that the building of an index is told of: those that lists are fitted on, turn after turn, and all that are added."""
    fitted = 0 if chosen.kind != "ivf" or trained is not None else rows_fitted(rows, chosen)
    return fitted + rows


def sweep(path: Path) -> None:
    """Remove what changes that were killed, or are over, left beside the rows that count; nothing else that lies there."""
    current = _current(path)
    for entry in path.iterdir():
        if (
            entry.name == current
            or not _ROWS.fullmatch(entry.name)
            or not entry.is_dir()
            or entry.is_symlink()
        ):
            continue
        if entry.name[0] == ".":  # nobody else calls a folder so
            remove(entry)
            continue
        own = [file for file in entry.iterdir() if _FILE_OF_ROWS.fullmatch(file.name)]
        for file in own:
            remove(file)
        if own:
            with suppress(OSError):  # not empty: something else lies there, such as what a file manager wrote
                entry.rmdir()


def check_target(path: Path, force: bool) -> None:
    """Refuse a place where an index cannot begin.

    Raises:
        InputError: an index is there and `force` is off, or something else is.
    """
    if (path / RECORD).exists():
        if not force:
            raise InputError(
                f"{path} is an index already; give --force to replace it, or add to it: "
                f"`subspace index {in_shell(path)} --append EMBEDDINGS`"
            )
    elif path.exists() and (
        not path.is_dir() or not all(entry.name == ".lock" or _is_rows(entry) for entry in path.iterdir())
    ):
        raise InputError(f"{path} is there and is no index; name another --out")


def _is_rows(entry: Path) -> bool:
    """Whether that is a folder of rows, whole or not: by its name, and by the name of every file in it."""
    if not _ROWS.fullmatch(entry.name) or not entry.is_dir() or entry.is_symlink():
        return False
    return all(_FILE_OF_ROWS.fullmatch(file.name) for file in entry.iterdir())


def _current(path: Path) -> str | None:
    """The folder of the rows that count; damage is no reason not to make it anew."""
    import json

    try:
        found = json.loads((path / RECORD).read_bytes())["rows"]
    except (OSError, ValueError, TypeError, KeyError):
        numbers = [entry.name for entry in path.glob("[0-9]*") if entry.name.isdecimal()]
        return max(numbers, default=None)
    return found if isinstance(found, str) and found.isdecimal() and len(found) == 6 else None


def _write_images(
    aside: Path, rows: IdentityRows, sources: Sequence[RowSource], settings: IndexSettings, progress: Progress
) -> np.ndarray:
    """images.npy, float[n, D]: every block is written to the places of its rows."""
    shape = (len(rows.place), settings.dimensions)
    images_nD = _mapped(aside / files.IMAGES, np.dtype(settings.dtype), shape)
    start = 0
    for source in sources:
        for block in source.blocks():
            place = rows.place[start : start + len(block)]
            if place[-1] - place[0] == len(place) - 1 and (np.diff(place) == 1).all():
                images_nD[place[0] : place[0] + len(place)] = block
            else:
                images_nD[place] = block
            start += len(block)
            progress.update(len(block))
    return images_nD


def _write_means(aside: Path, images_nD: np.ndarray, offset: np.ndarray, progress: Progress) -> np.ndarray:
    shape = (len(offset) - 1, images_nD.shape[1])
    means_ID = _mapped(aside / files.MEANS, np.dtype(np.float32), shape)
    start = 0
    for means in means_of_rows(images_nD, offset):
        means_ID[start : start + len(means)] = means
        progress.update(int(offset[start + len(means)] - offset[start]))
        start += len(means)
    np.save(aside / files.OFFSET, offset)
    return means_ID


def _mapped(path: Path, dtype: np.dtype, shape: tuple[int, int]) -> np.memmap:
    array = np.lib.format.open_memmap(path, "w+", dtype, shape)
    with open(path, "r+b") as file:
        take_room(file.fileno(), path.stat().st_size)
    return array


def _write_names(aside: Path, rows: IdentityRows, sources: Sequence[RowSource]) -> None:
    identity_n = np.repeat(np.arange(len(rows.names), dtype=np.int32), np.diff(rows.offset))
    image = pa.concat_arrays([source.image for source in sources])
    given = np.empty(len(rows.place), np.int64)
    given[rows.place] = np.arange(len(rows.place))
    with parquet_writer(aside / files.IMAGE_TABLE, INDEXED_IMAGES, INDEXED_IMAGES.columns, "") as writer:
        for part in _parts(len(given)):
            names = image.take(pa.array(given[part])).cast(pa.string())
            writer.write_table(pa.table([names, pa.array(identity_n[part])], schema=INDEXED_IMAGES.columns))
    schema, count = INDEXED_IDENTITIES.columns, np.diff(rows.offset).astype(np.int32)
    with parquet_writer(aside / files.IDENTITY_TABLE, INDEXED_IDENTITIES, schema, "") as writer:
        for part in _parts(len(rows.names)):
            number = np.arange(part.start, part.stop, dtype=np.int32)
            columns = [pa.array(number), pa.array(rows.names[part]), pa.array(count[part])]
            writer.write_table(pa.table(columns, schema=schema))


def _parts(n: int) -> Iterable[slice]:
    return (slice(start, min(start + NAMES_AT_A_TIME, n)) for start in range(0, n, NAMES_AT_A_TIME))


def _draw_trials(
    images_nD: np.ndarray, offset: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images that the indexes are tried with: their rows, their identities, and they themselves."""
    drawn = np.sort(
        generator(seed, "index trials").choice(len(images_nD), min(TRIALS, len(images_nD)), replace=False)
    )
    identity = np.searchsorted(offset, drawn, side="right") - 1
    return drawn, identity, images_nD[drawn].astype(np.float32)


def _in_words(name: str, kind: ChosenKind, effort: Effort, tried: int) -> str:
    named = f"{name.removesuffix('_index')}: {kind.kind} ({kind.reason})"
    if kind.kind == "flat":
        return named
    if effort == EXACT:
        return f"{named}; not tried, as there is one row"
    looks = (
        f"{effort.breadth:,} of {kind.lists:,} lists are probed"
        if kind.kind == "ivf"
        else f"{effort.breadth:,} rows are kept in sight"
    )
    return f"{named}; {looks}, which finds the nearest of {100 * effort.recall:.1f} % of {counted(tried, 'image')}"
