"""Build a glyph set: every Unicode character is an identity, every typeface that draws it is an image of it.

    make glyphs
    .venv/bin/python data_manifests/glyphs/make_glyphs.py tiny --out data/glyphs/tiny

Needs this package, freetype-py, and either a Debian-like machine with a network or a folder of fonts. What is
fetched and drawn is kept, so an interrupted build goes on where it was. The same fonts and versions give the same
bytes, whatever the number of processes.
"""

from __future__ import annotations

import argparse
import hashlib
import time
import zlib
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from drawn_fonts import draw_font, pictures_path
from face_table import FaceTable, face_table
from fetch_fonts import FontFile, fetch, list_fonts
from near_repeats import NEAR_REPEAT
from recipe_end import remove_old_shards, run_to_end
from worker_pool import in_processes
from write_set import write_set
from write_shards import IDENTITIES_PER_SHARD, Shard, write_shard

from subspace.mining.errors import InputError
from subspace.mining.fingerprints import fingerprint_of
from subspace.mining.machine import usable_cores
from subspace.pipeline.console import Console, amount

SIZES = ("tiny", "core", "wide", "all")
PACKAGES = Path(__file__).with_name("packages.yaml")


class Recipe(NamedTuple):
    """What a size of the set is made of."""

    packages: tuple[str, ...]
    private_use: tuple[str, ...]
    """Those whose private-use characters count."""
    least_images: int
    """What an identity needs to be held out or to serve pretraining."""


OWN_FONTS = Recipe((), (), 4)


def recipe_of(size: str) -> Recipe:
    """The packages of a size, with those of the smaller ones."""
    told: dict[str, Any] = yaml.safe_load(PACKAGES.read_text(encoding="utf-8"))
    names = [name for smaller in SIZES[: SIZES.index(size) + 1] for name in told[smaller]["packages"]]
    return Recipe(tuple(names), tuple(told["private_use"]), told[size]["least_images"])


def make_glyphs(
    files: list[FontFile],
    private_use: tuple[str, ...],
    out: Path,
    work: Path,
    processes: int,
    console: Console,
) -> tuple[FaceTable, list[Path]]:
    """Draw the font files into `work`, write the shards into `out`; return all faces and the shards' paths."""
    drawn = work / "drawn"
    paths = [file.path for file in files]
    sizes = [path.stat().st_size for path in paths]
    largest_first = sorted(range(len(paths)), key=lambda i: -sizes[i])
    with console.progress("draw", len(paths), "font files") as progress:
        folders = in_processes(
            partial(draw_font, drawn=drawn), paths, largest_first, processes, progress.update
        )
    table = face_table(files, folders, private_use)
    if not len(table.drawn):
        raise InputError(
            f"{files[0].path} and {len(files) - 1} other files draw no character; give other fonts"
        )

    drawings = {
        "fonts": [folder.name for folder in folders],
        "of": hashlib.sha256(table.drawn.tobytes()).hexdigest(),
    }
    writing = {"near": NEAR_REPEAT, "identities": IDENTITIES_PER_SHARD, "zlib": zlib.ZLIB_RUNTIME_VERSION}
    fingerprint = fingerprint_of({**drawings, **writing})
    shards = _shards(table, out / f"shards-{fingerprint[:12]}", tuple(map(pictures_path, folders)))
    with console.progress("write", len(shards), "shards") as progress:
        order = list(range(len(shards)))
        return table, in_processes(write_shard, shards, order, processes, progress.update)


def _shards(table: FaceTable, folder: Path, pictures: tuple[Path, ...]) -> list[Shard]:
    starts = np.flatnonzero(np.append(True, np.diff(table.drawn["code"]) != 0))
    pieces = np.split(table.drawn, starts[::IDENTITIES_PER_SHARD][1:])
    return [Shard(folder / f"{i:04d}.pngs", piece, pictures) for i, piece in enumerate(pieces)]


def run(options: argparse.Namespace, console: Console) -> None:
    """Fetch, draw, write, and say what the set holds."""
    started = time.monotonic()
    out = options.out or Path("data/glyphs") / options.size
    work = options.work or out.parent
    if options.processes < 1:
        raise InputError(f"--processes is {options.processes}; give 1 or more")
    if options.fonts is None:
        name, recipe = options.size, recipe_of(options.size)
        files = fetch(recipe.packages, work / "packages", console)
    else:
        name, recipe = "own fonts", OWN_FONTS
        files = list_fonts(options.fonts)
    table, shards = make_glyphs(files, recipe.private_use, out, work, options.processes, console)
    told = write_set(out, shards, table, name, recipe.least_images)
    remove_old_shards(out, shards)
    size = sum(shard.stat().st_size for shard in shards)
    console.say(
        f"{out / 'manifest.parquet'}: {told['images']:,} images ({amount(size)}) of {told['identities']:,} "
        f"identities, {told['faces']:,} faces, {told['families']} families, in {time.monotonic() - started:,.0f} s"
    )
    for what in ("identities with images", "identities by split"):
        console.say(f"  {what}: " + ", ".join(f"{name} {count:,}" for name, count in told[what].items()))
    left_out = (
        f"{told[name]:,} {name}" for name in ("blank", "placeholders", "unassigned or private", "repeats")
    )
    console.say(f"  left out of {told['drawn']:,} drawings: {', '.join(left_out)}")
    console.say(
        f"  {told['duplicate pairs']:,} pairs of identities are one picture in every face that has both"
    )


def main() -> None:
    """Read the command line and build the set."""
    parser = argparse.ArgumentParser(
        description="Build a glyph set: characters are identities, typefaces that draw them are images."
    )
    parser.add_argument(
        "size", choices=SIZES, nargs="?", default="wide", help="which packages (default: wide)"
    )
    parser.add_argument("--fonts", type=Path, help="take the fonts of this folder instead of packages")
    parser.add_argument("--out", type=Path, help="folder of the set (default: data/glyphs/SIZE)")
    parser.add_argument(
        "--work", type=Path, help="folder for packages and drawings (default: beside the set)"
    )
    parser.add_argument("--processes", type=int, default=usable_cores(), help="default: one a core")
    parser.add_argument("--quiet", action="store_true", help="say nothing but errors")
    run_to_end(run, parser.parse_args())


if __name__ == "__main__":
    main()
