"""Build a word set: every written word is an identity, every typeface that writes it is an image of it.

    make words SIZE=1m
    .venv/bin/python data_manifests/words/make_words.py 100k --out data/words/100k

Needs this package, freetype-py, and either a Debian-like machine with a network or a folder of word lists and one of
fonts. What is fetched and drawn is kept, so an interrupted build goes on where it was. The same lists, fonts and
versions give the same bytes, whatever the number of processes.
"""

# pyarrow.compute makes its functions when it is imported, out of a type checker's sight.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import argparse
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "glyphs"))
from fetch_fonts import fetch, list_fonts
from recipe_end import remove_old_shards, run_to_end
from word_costs import DOWNLOAD, UNPACKED, announce
from word_faces import Coverage, word_faces
from word_lists import MOST, Words, fetch_lists, list_word_lists, read_words
from word_set import Identities, write_set
from word_shards import shards_of, write_shard
from word_splits import LEFT_OUT, SPLITS, Size, word_splits
from worker_pool import in_processes

from subspace.mining.errors import InputError
from subspace.mining.machine import usable_cores
from subspace.pipeline.console import Console, amount

PACKAGES = Path(__file__).with_name("packages.yaml")
_CHECKED = 262_144  # words at a time


def sizes() -> dict[str, Size]:
    """The sizes by name."""
    told: dict[str, Any] = yaml.safe_load(PACKAGES.read_text(encoding="utf-8"))
    return {name: Size(**numbers) for name, numbers in told["sizes"].items()}


def run(options: argparse.Namespace, console: Console) -> None:
    """Fetch, read, say what it will take, draw, write, and say what the set holds."""
    started = time.monotonic()
    out = options.out or Path("data/words") / options.size
    work = options.work or out.parent
    if options.processes < 1:
        raise InputError(f"--processes is {options.processes}; give 1 or more")
    told: dict[str, Any] = yaml.safe_load(PACKAGES.read_text(encoding="utf-8"))
    if options.lists is None or options.fonts is None:
        console.say(
            f"packages: {amount(DOWNLOAD)} to fetch and {amount(UNPACKED)} of disk, less what is in {work / 'packages'}"
        )
    fonts = (
        fetch([name for kind in told["fonts"] for name in kind], work / "packages", console)
        if options.fonts is None
        else list_fonts(options.fonts)
    )
    files = (
        fetch_lists(told["lists"], work / "packages", console)
        if options.lists is None
        else list_word_lists(options.lists)
    )
    size = sizes()[options.size]
    words = read_words(files, console)
    alphabet = set(words.words.buffers()[2].to_pybytes().decode())
    with console.progress("look at", len(fonts), "font files") as progress:
        found = [face for file in progress.over(fonts) for face in word_faces(file, alphabet)]
    faces = list({(face.sha256, face.index): face for face in found}.values())
    if not faces:
        raise InputError(
            f"{fonts[0].path} and {len(fonts) - 1} other files hold no face with all letters from a to z; give other fonts"
        )
    identities = choose(words, Coverage(faces), size)
    shards = shards_of(identities.words.words, size.images_of(identities.split), faces, out)
    announce(shards, out, len(words.words), options, console)
    if options.dry_run:
        return
    with console.progress("draw", len(shards), "shards") as progress:
        order = list(range(len(shards)))
        paths = in_processes(write_shard, shards, order, options.processes, progress.update)
    provenance = write_set(out, paths, identities, faces, files, options.size, size)
    remove_old_shards(out, paths)
    disk = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    console.say(
        f"{out / 'manifest.parquet'}: {provenance['images']:,} images of {provenance['identities']:,} identities, "
        f"{len(faces):,} faces, {provenance['families']} families; {amount(disk)} of disk, {amount(peak)} of memory beside "
        f"the processes that draw, {time.monotonic() - started:,.0f} s"
    )
    for what in ("identities by split", "identities by images"):
        console.say(
            f"  {what}: " + ", ".join(f"{name} {count:,}" for name, count in provenance[what].items())
        )


def choose(words: Words, coverage: Coverage, size: Size) -> Identities:
    """The words of the set, and their splits.

    Raises:
        InputError: there is none to train on.
    """
    families = np.concatenate(
        [
            coverage.families_of(words.words[at : at + _CHECKED].to_pylist(), MOST)
            for at in range(0, len(words.words), _CHECKED)
        ]
    )
    split = word_splits(words.words, families, size)
    if not np.isin(split, [SPLITS.index(name) for name in ("train", "pretrain")]).any():
        raise InputError(
            f"{len(words.words):,} words in {len(words.names)} lists leave none to train on beside those held out; "
            "give longer lists, more fonts or a smaller size"
        )
    kept = np.flatnonzero(split != LEFT_OUT)
    chosen = words._replace(words=words.words.take(pa.array(kept)), lists=words.lists[kept])
    return Identities(chosen, split[kept])


def main() -> None:
    """Read the command line and build the set."""
    parser = argparse.ArgumentParser(
        description="Build a word set: words are identities, typefaces that write them are images.",
        epilog="example: make_words.py 1m --out data/words/1m --processes 2",
    )
    parser.add_argument(
        "size", choices=sizes(), nargs="?", default="100k", help="how many words to train on (default: 100k)"
    )
    parser.add_argument("--lists", type=Path, help="take the word lists of this folder instead of packages")
    parser.add_argument("--fonts", type=Path, help="take the fonts of this folder instead of packages")
    parser.add_argument("--out", type=Path, help="folder of the set (default: data/words/SIZE)")
    parser.add_argument("--work", type=Path, help="folder for packages (default: beside the set)")
    parser.add_argument("--processes", type=int, default=usable_cores(), help="default: one a core")
    parser.add_argument("--dry-run", action="store_true", help="fetch and read, say what it takes, and stop")
    parser.add_argument("--quiet", action="store_true", help="say nothing but errors")
    run_to_end(run, parser.parse_args())


if __name__ == "__main__":
    main()
