"""Build the emoji set: every emoji is an identity, every vendor's drawing of it is an image.

    .venv/bin/pip install resvg-py
    .venv/bin/python data_manifests/emoji/make_emoji.py --out data/emoji
    .venv/bin/subspace ingest data/emoji/images.csv --out data/emoji.parquet

Needs this package, resvg-py and npm. Downloads are kept and checked. The same versions of packages, Pillow and resvg
give the same bytes, whatever the number of processes.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import importlib.metadata
import importlib.util
import io
import sys
import tarfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import PIL
import yaml
from emoji_names import Emoji, Names
from npm_packages import Package, fetch
from pictures import draw, read_pictures

from subspace.mining.artifacts import whole_folder, write_json
from subspace.mining.errors import InputError, SubspaceError
from subspace.mining.machine import usable_cores
from subspace.mining.randomness import generator
from subspace.pipeline.console import Console

STYLES = Path(__file__).with_name("styles.yaml")
LEAST_VENDORS = 2
TEST, VALIDATION = 0.2, 0.05
"""Shares of the drawings held out; all variants of one drawing go the same way."""


class Row(NamedTuple):
    """An image: a row of images.csv."""

    label: str
    path: str
    group: str
    split: str
    style: str
    code: str


def read_names(told: dict[str, Any], packages: Path) -> Names:
    """The emoji that the set knows, out of OpenMoji's table."""
    archive = fetch(_package(told), packages)
    with tarfile.open(archive) as tar:
        file = tar.extractfile(told["table"])
        if file is None:
            raise InputError(f"{archive} has no file {told['table']}")
        return Names.of_table(csv.DictReader(io.TextIOWrapper(file, "utf-8")))


def _package(told: dict[str, Any]) -> Package:
    return Package(told["package"], told["version"], told["integrity"])


def splits_of(bases: Iterable[str]) -> dict[str, str]:
    """A split for each drawing: a function of all of them, so that the same emoji are held out every time."""
    ordered = sorted(set(bases))
    places = generator(0, "emoji splits").permutation(len(ordered))
    test, held = round(TEST * len(ordered)), round((TEST + VALIDATION) * len(ordered))
    return {
        base: "test" if place < test else "val" if place < held else "train"
        for base, place in zip(ordered, places, strict=True)
    }


def collect(
    styles: dict[str, dict[str, Any]], names: Names, packages: Path, console: Console
) -> tuple[dict[Emoji, dict[str, bytes]], Counter[str]]:
    """The picture of every emoji in every style, undrawn; and how many pictures of a style are of no emoji."""
    found: dict[Emoji, dict[str, bytes]] = defaultdict(dict)
    unknown: Counter[str] = Counter()
    with console.progress("read", len(styles), "styles") as progress:
        for style, told in styles.items():
            for says, data in read_pictures(fetch(_package(told), packages), told):
                emoji = names.find(**says)
                if emoji is None:
                    unknown[style] += 1
                else:
                    found[emoji].setdefault(style, data)
            progress.update(1, style)
    return found, unknown


def check_out(out: Path, styles: dict[str, dict[str, Any]]) -> None:
    """Refuse a folder that holds more than an earlier set: it would be lost, as the set takes the folder's place.

    Raises:
        InputError: it does, or `out` is a file.
    """
    if out.is_file():
        raise InputError(f"{out} is a file; give --out a folder")
    others = sorted({path.name for path in out.glob("*")} - {*styles, "images.csv", "provenance.json"})
    if others:
        raise InputError(
            f"{out} holds other files ({', '.join(others[:3])}); move them, or give --out a folder of its own"
        )


def write_set(
    out: Path,
    styles: dict[str, dict[str, Any]],
    found: dict[Emoji, dict[str, bytes]],
    processes: int,
    console: Console,
) -> list[Row]:
    """Draw and write all pictures of emoji that two vendors have, and the table of them; return its rows."""
    kept = {
        emoji: pictures
        for emoji, pictures in sorted(found.items())
        if len({styles[style]["vendor"] for style in pictures}) >= LEAST_VENDORS
    }
    split = splits_of(emoji.base for emoji in kept)
    rows, undrawn = [], []
    for emoji, pictures in kept.items():
        for style in styles:
            if style in pictures:
                path = f"{style}/{emoji.code}.png"
                rows.append(
                    Row(emoji.name, path, styles[style]["vendor"], split[emoji.base], style, emoji.code)
                )
                undrawn.append(pictures[style])
    hashed = hashlib.sha256()
    with whole_folder(out) as aside, ProcessPoolExecutor(processes) as pool:
        for style in styles:
            (aside / style).mkdir()
        with console.progress("draw", len(rows), "pictures") as progress:
            for row, picture in zip(rows, pool.map(draw, undrawn, chunksize=64), strict=True):
                (aside / row.path).write_bytes(picture)
                hashed.update(picture)
                progress.update(1)
        with (aside / "images.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerows([Row._fields, *rows])
        provenance = {
            "styles": {
                name: {**told, "images": sum(row.style == name for row in rows)}
                for name, told in styles.items()
            },
            "pillow": PIL.__version__,
            "resvg-py": importlib.metadata.version("resvg-py"),
            "sha256 of all pictures": hashed.hexdigest(),
        }
        write_json(aside / "provenance.json", provenance)
    return rows


def tell(rows: list[Row], styles: dict[str, dict[str, Any]], unknown: Counter[str], console: Console) -> None:
    """Say what the set holds: images of each style, and identities by their vendors."""
    vendors: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        vendors[row.code].add(row.group)
    console.say("| style | vendor | images | pictures of no emoji | licence |\n|---|---|---|---|---|")
    of_style = Counter(row.style for row in rows)
    for name, told in styles.items():
        console.say(
            f"| {name} | {told['vendor']} | {of_style[name]:,} | {unknown[name]:,} | {told['licence']} |"
        )
    most = max(map(len, vendors.values()), default=0)
    head = " | ".join(f"≥ {least}" for least in range(LEAST_VENDORS, most + 1))
    counts = (
        sum(len(which) >= least for which in vendors.values()) for least in range(LEAST_VENDORS, most + 1)
    )
    console.say(f"\n| vendors | {head} |\n|{'---|' * most}")
    console.say(f"| identities | {' | '.join(f'{count:,}' for count in counts)} |")
    of_split = Counter({row.code: row.split for row in rows}.values())
    console.say(
        "\nidentities by split: " + ", ".join(f"{name} {count:,}" for name, count in of_split.items())
    )


def run(options: argparse.Namespace, console: Console) -> None:
    """Fetch, draw, write, and say what the set holds."""
    started = time.monotonic()
    if options.processes < 1:
        raise InputError(f"--processes is {options.processes}; give 1 or more")
    if importlib.util.find_spec("resvg_py") is None:
        raise InputError("resvg-py is missing, which draws SVG: pip install resvg-py")
    told = yaml.safe_load(STYLES.read_text(encoding="utf-8"))
    styles = {**told["free"], **(told["restricted"] if options.restricted else {})}
    check_out(options.out, told["free"] | told["restricted"])
    packages = options.packages or options.out.parent / "packages"
    names = read_names(told["names"], packages)
    found, unknown = collect(styles, names, packages, console)
    rows = write_set(options.out, styles, found, options.processes, console)
    tell(rows, styles, unknown, console)
    console.say(
        f"{options.out / 'images.csv'}: {len(rows):,} images of {len({row.code for row in rows}):,} identities, "
        f"in {time.monotonic() - started:,.0f} s"
    )


def main() -> None:
    """Read the command line and build the set."""
    parser = argparse.ArgumentParser(
        description="Build the emoji set: emoji are identities, vendors' drawings of them are images."
    )
    parser.add_argument("--out", type=Path, default=Path("data/emoji"), help="default: data/emoji")
    parser.add_argument("--packages", type=Path, help="folder of downloads (default: beside the set)")
    parser.add_argument(
        "--restricted", action="store_true", help="also Apple, Facebook and JoyPixels; read their terms first"
    )
    parser.add_argument("--processes", type=int, default=usable_cores(), help="default: one a core")
    parser.add_argument("--quiet", action="store_true", help="say nothing but errors")
    options = parser.parse_args()
    try:
        run(options, Console(quiet=options.quiet))
    except SubspaceError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None


if __name__ == "__main__":
    main()
