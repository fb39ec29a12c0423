"""The demo set is 2,000 Unicode characters drawn by Debian's OFL typefaces, chosen for their look-alikes.

An identity is a character, an image is one face's drawing of it at 32x32 (light ink on black), and `group`
is the type family: all weights, widths and regional cuts of one design. From pools of characters, random
seeds are taken with their nine nearest characters by pixels, so that 己 comes with 已 and 巳, and drawn in
every face. The same fonts give the same bytes. Needs this package, freetype-py and a Debian system; takes a
minute and a half:

    make demo-data
"""

import argparse
import csv
import ctypes
import os
import re
import struct
import subprocess
import tempfile
import unicodedata
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import freetype
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from subspace.pipeline.sources.ingest import ingest_images
from subspace.pipeline.sources.options import IngestOptions

SEED = 20_240_501
SIDE, EM, INK = (
    32,
    27,
    30,
)  # pixels: the image, the font size, and the largest drawing (larger: scaled, not cut)
NEIGHBOURHOOD = 10  # a seed and its nearest nine
MIN_IMAGES, MIN_FAMILIES = 6, 2  # per identity
MOST_IMAGES = range(8, 21)  # an identity's limit is drawn from these: some are rich, some poor
NEAR_REPEAT = 0.98  # pixel cosine to a kept drawing of the same character, above which a drawing is dropped
PLACEHOLDER = 10  # this many characters with one drawing in a face: a "missing glyph" box
SPLITS = {"pretrain": 400, "train": 800, "val": 200, "test": 600}
SCRIPTS = "Thai|Lao|Hebrew|Armenian|Georgian|Ethiopic|Devanagari|Arabic"
STYLES = r"-(Condensed)?(Thin|Light|Regular|Medium|Bold|Black)?(Italic)?\.ttf"
# fmt: off
PACKAGES = ("fonts-noto-core", "fonts-noto-extra", "fonts-noto-cjk", "fonts-noto-cjk-extra", "fonts-nanum",
            "fonts-nanum-extra", "fonts-lxgw-wenkai")
FAMILIES = {  # of a file name; without Nanum's Eco cuts: NanumGothic with holes, and blobs at this size
    r"NotoSansCJK-.*": "Noto Sans CJK", r"NotoSerifCJK-.*": "Noto Serif CJK", r"LXGWWenKai.*": "LXGW WenKai",
    r"NanumGothic(?!Eco).*": "NanumGothic", r"NanumMyeongjo(?!Eco).*": "NanumMyeongjo",
    r"NanumBarunGothic.*": "NanumBarunGothic", r"NanumBarunpen.*": "NanumBarunpen",
    r"NanumSquare.*": "NanumSquare", r"NanumBrush.*": "Nanum Brush Script", r"NanumPen.*": "Nanum Pen Script",
    rf"NotoNaskhArabic{STYLES}": "Noto Naskh Arabic", rf"NotoKufiArabic{STYLES}": "Noto Kufi Arabic",
    rf"NotoRashiHebrew{STYLES}": "Noto Rashi Hebrew", rf"NotoLooped(Thai|Lao){STYLES}": "Noto Looped",
    rf"NotoSans(Mono|Display|{SCRIPTS})?{STYLES}": "Noto Sans",
    rf"NotoSerif(Display|{SCRIPTS})?{STYLES}": "Noto Serif"}
POOLS = (  # code points; faces to compare in; first seeds; codec of the other seeds; identities
    ("AC00-D7A3", r"NanumGothic\.ttf|NanumMyeongjo\.ttf|CJKkr-Regular|NanumBarunpenR",
     "떳를흩홋밝", "euc_kr", 800),
    ("3400-4DBF 4E00-9FFC 20000-2FA1F", "CJKsc-Regular|LXGWWenKai-Regular",
     "己未土日人干大王戊侯折入力戌辨賣昧治暖晴睛栗喝椎侍狼", "euc_kr", 850),
    ("41-24F 370-52F 1E00-1EFF", r"Noto(Sans|Serif)-Regular\.ttf", "OclēЩЮΛ", "utf-8", 200),
    ("531-587 5D0-5EA 620-64A 671-6D3 904-939 E01-E33 E81-EB3 10D0-10FA 1200-1357 3041-30FA",
     r"Noto.*(CJKjp-Regular|[a-z]-Regular\.ttf)", "かシはבبขሀღթदນ", "utf-8", 150))
WORD = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema({
    "identity": pa.string(), "identity_id": pa.int32(), "uri": WORD, "offset": pa.int64(),
    "length": pa.int64(), "image": pa.binary(), "split": pa.string(), "keep": pa.bool_(), "group": WORD})
# fmt: on
Drawings = dict[int, np.ndarray]  # {index of the face: uint8 [SIDE, SIDE]} of one character


class Face(NamedTuple):
    """One face of a font file; `name` is the file's, with `#PostScriptName` in a collection (RFC 8081)."""

    name: str
    family: str
    package: str
    package_version: str
    font_version: str
    font: freetype.Face


def open_faces(folder: Path) -> Iterator[Face]:
    """Fetch and unpack the missing packages (nothing is installed), check their licence, open their faces."""
    for package in PACKAGES:
        if not any(folder.glob(f"{package}_*/usr")):
            subprocess.run(["apt-get", "download", package], cwd=folder, check=True)
            (deb,) = folder.glob(f"{package}_*.deb")
            subprocess.run(["dpkg", "-x", deb, folder / deb.name.removesuffix("_all.deb")], check=True)
        (unpacked,) = (path for path in folder.glob(f"{package}_*") if path.is_dir())
        terms = (unpacked / f"usr/share/doc/{package}/copyright").read_text()
        if not re.search(r"(?ms)^Files:\s*\*$((?!^Files:).)*?^License: (OFL|SIL)-1\.1$", terms):
            raise SystemExit(f"{package}: debian/copyright does not put `Files: *` under OFL-1.1; remove it")
        package_version = unquote(unpacked.name.split("_")[1])
        for path in sorted(unpacked.rglob("*.[to]t[fc]")):
            families = [family for names, family in FAMILIES.items() if re.fullmatch(names, path.name)]
            collected = path.suffix == ".ttc"  # 0 to 4 are JP KR SC TC HK; above are Mono cuts, the same Han
            for index in range(5 if collected else 1) if families else ():
                font = freetype.Face(str(path), index)
                name = path.name + (f"#{font.postscript_name.decode()}" if collected else "")
                names = map(font.get_sfnt_name, range(font.sfnt_name_count))
                platform, text = max((name.platform_id, name.string) for name in names if name.name_id == 5)
                font_version = text.decode("utf-16-be" if platform == 3 else "latin-1")
                yield Face(name, families[0], package, package_version, font_version, font)


def draw(font: freetype.Face, code: int, size: int = EM * 64) -> np.ndarray | None:
    """The character in 16 grey levels, ink box centred; None when absent or blank. `size`: 1/64 pixel."""
    glyph = font.get_char_index(code)
    font.set_char_size(size, 0, 72, 72)
    font.load_glyph(glyph, freetype.FT_LOAD_NO_HINTING | freetype.FT_LOAD_NO_BITMAP)
    if glyph == 0 or font.glyph.outline.n_points == 0:
        return None
    box = font.glyph.outline.get_bbox()
    width, height = box.xMax - box.xMin, box.yMax - box.yMin
    if max(width, height) > INK * 64:
        return draw(font, code, size * (INK * 64 - 4) // max(width, height))
    right, up = SIDE * 32 - width // 2 - box.xMin, SIDE * 32 - height // 2 - box.yMin
    freetype.FT_Outline_Translate(ctypes.byref(font.glyph.outline._FT_Outline), right, up)
    font.glyph.render(freetype.FT_RENDER_MODE_NORMAL)
    bitmap, left, top = font.glyph.bitmap, font.glyph.bitmap_left + SIDE, 2 * SIDE - font.glyph.bitmap_top
    wide = np.zeros((3 * SIDE, 3 * SIDE), np.uint16)  # a bitmap covers control points too, beyond the ink
    if bitmap.rows and bitmap.width:
        pixels = np.array(bitmap.buffer, np.uint16).reshape(bitmap.rows, bitmap.pitch)
        wide[top : top + bitmap.rows, left : left + bitmap.width] = pixels[:, : bitmap.width]
    image = ((wide[SIDE : 2 * SIDE, SIDE : 2 * SIDE] + 8) // 17 * 17).astype(np.uint8)
    return image if np.count_nonzero(image > 64) >= 8 else None


def unit(image: np.ndarray) -> np.ndarray:
    """Flatten to a float32 vector of unit length."""
    return image.astype(np.float32).ravel() / np.linalg.norm(image.astype(np.float32).ravel())


def find_neighbourhoods(pool: tuple[str, str, str, str, int], faces: list[Face]) -> list[int]:
    """Code points of a pool: the first seeds' neighbours, then those of the denser third of random seeds."""
    ranges, reference, first_seeds, codec, identities = pool
    fonts = [face.font for face in faces if re.search(reference, face.name)]
    means = {}  # of clean characters: letters that are their own NFKC form
    for low, _, high in (ends.partition("-") for ends in ranges.split()):
        for code in range(int(low, 16), int(high, 16) + 1):
            letter = unicodedata.category(chr(code)) in ("Lo", "Lu", "Ll")
            if letter and unicodedata.normalize("NFKC", chr(code)) == chr(code):
                images = [image for font in fonts if (image := draw(font, code)) is not None]
                if len(images) >= MIN_FAMILIES:  # compared at half size, which forgives a shift of a pixel
                    halves = np.stack(images).reshape(-1, SIDE // 2, 2, SIDE // 2, 2).mean((2, 4))
                    means[code] = unit(np.mean([unit(half) for half in halves], axis=0))
    codes, means_ND = np.array(list(means)), np.stack(list(means.values()))
    # euc_kr encodes everyday syllables and Han in 2 bytes, the rarer syllables in 8
    common = [i for i, code in enumerate(codes) if 0 < len(chr(code).encode(codec, "ignore")) < 4]
    seeds = np.random.default_rng((SEED, identities)).permutation(common)[:identities]
    density = -np.sort(-means_ND[seeds] @ means_ND.T, axis=1)[:, :NEIGHBOURHOOD].mean(1)
    first = np.flatnonzero(np.isin(codes, [ord(seed) for seed in first_seeds]))
    seeds = np.concatenate([first, seeds[density >= np.quantile(density, 2 / 3)]])
    nearest = np.argsort(-means_ND[seeds] @ means_ND.T, axis=1, kind="stable")[:, :NEIGHBOURHOOD]
    return list(dict.fromkeys(codes[nearest].ravel().tolist()))[: identities * 3 // 2]


def draw_all(codes: list[int], faces: list[Face]) -> dict[int, Drawings]:
    """{code: drawings} without placeholders and without the second of two names for one picture."""
    drawings: dict[int, Drawings] = {code: {} for code in codes}
    alike: Counter[tuple[int, int]] = Counter()  # in how many faces two characters have one drawing
    for index, face in enumerate(faces):
        owners: dict[bytes, list[int]] = defaultdict(list)
        for code in codes:
            if (image := draw(face.font, code)) is not None:
                owners[image.tobytes()].append(code)
        for pixels, same in owners.items():
            if len(same) < PLACEHOLDER:
                alike.update((a, b) for a in same for b in same if a < b)
                for code in same:
                    drawings[code][index] = np.frombuffer(pixels, np.uint8).reshape(SIDE, SIDE)
    for (a, b), count in sorted(alike.items()):
        if a in drawings and b in drawings and 2 * count >= len(drawings[a].keys() & drawings[b].keys()):
            del drawings[b]
    return drawings


def choose_images(code: int, drawings: Drawings, faces: list[Face]) -> Drawings:
    """The families in turn, each in an order drawn for the character, without near-repeats, to its limit."""
    rng = np.random.default_rng((SEED, code))
    most, turn, queue = rng.choice(MOST_IMAGES), Counter[str](), []
    for index in rng.permutation(sorted(drawings)).tolist():
        turn[faces[index].family] += 1
        queue.append((turn[faces[index].family], rng.random(), index))
    kept: Drawings = {}
    for _, _, index in sorted(queue):
        vector = unit(drawings[index])
        if len(kept) < most and all(vector @ other < NEAR_REPEAT for other in kept.values()):
            kept[index] = vector
    return {index: drawings[index] for index in sorted(kept)}


def choose_identities(faces: list[Face]) -> dict[str, Drawings]:
    """{name: drawings} of each pool's first characters with enough images and families, sorted by name."""
    chosen: dict[str, Drawings] = {}
    for pool in POOLS:
        found: dict[str, Drawings] = {}
        for code, drawings in draw_all(find_neighbourhoods(pool, faces), faces).items():
            kept = choose_images(code, drawings, faces)
            if len(kept) >= MIN_IMAGES and len({faces[index].family for index in kept}) >= MIN_FAMILIES:
                found[f"U+{code:04X}"] = kept
        if len(found) < pool[-1]:
            raise SystemExit(f"pool {pool[0]}: {len(found)} identities, not {pool[-1]}; widen it")
        chosen.update(list(found.items())[: pool[-1]])
    return dict(sorted(chosen.items()))


def encode_png(image: np.ndarray) -> bytes:
    """An 8-bit grey PNG without row filters, which only lengthen pictures this small."""
    raw = zlib.compress(np.pad(image, ((0, 0), (1, 0))).tobytes(), 9)
    png = b"\x89PNG\r\n\x1a\n"
    for body in (b"IHDR" + struct.pack(">IIBBBBB", SIDE, SIDE, 8, 0, 0, 0, 0), b"IDAT" + raw, b"IEND"):
        png += struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return png


def make_table(identities: dict[str, Drawings], faces: list[Face]) -> pa.Table:
    """The manifest, one row per image; the splits are a random permutation over the identities."""
    names = np.repeat(list(SPLITS), list(SPLITS.values()))
    splits = np.random.default_rng((SEED, 1)).permutation(names).tolist()
    rows = []
    for i, (identity, drawings) in enumerate(identities.items()):
        for index, image in drawings.items():
            uri, group = faces[index].name, faces[index].family
            rows.append((identity, i, uri, None, None, encode_png(image), splits[i], True, group))
    columns = zip(SCHEMA.types, zip(*rows, strict=True), strict=True)
    return pa.table([pa.array(column, kind) for kind, column in columns], SCHEMA)


def write_files(table: pa.Table, faces: list[Face], folder: Path) -> None:
    """demo.parquet, as a manifest, and demo_typefaces.csv, each written aside and renamed."""
    with tempfile.TemporaryDirectory() as temporary:
        source = Path(temporary) / "glyphs.parquet"
        pq.write_table(table, source)
        ingest_images(source, folder / "demo.parquet", IngestOptions())
    aside = folder / ".demo_typefaces.tmp"
    images = Counter(table["uri"].to_pylist())
    with aside.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["file", *Face._fields[1:-1], "licence", "images"])
        writer.writerows([*face[:-1], "OFL-1.1", images[face.name]] for face in faces if images[face.name])
    os.replace(aside, folder / "demo_typefaces.csv")


def report(table: pa.Table) -> None:
    """Print the counts, the share of look-alikes and how far plain pixels get on the test split."""
    starts, counts = np.unique(table["identity_id"], return_index=True, return_counts=True)[1:]
    split, group = np.array(table["split"].to_pylist()), np.array(table["group"].to_pylist())
    print(
        f"{len(counts):,} identities, {len(split):,} images; by images:",
        dict(sorted(Counter(counts.tolist()).items())),
    )
    print("identities by split:", Counter(split[starts].tolist()), "images:", Counter(split.tolist()))
    print("images by family:", Counter(group.tolist()))
    images = (np.frombuffer(zlib.decompress(png[41:-16]), np.uint8) for png in table["image"].to_pylist())
    vectors = np.stack([unit(image) for image in images])
    means_ND = np.stack([unit(rows.sum(0)) for rows in np.split(vectors, starts[1:])])
    nearest = (means_ND @ means_ND.T - 2 * np.eye(len(counts), dtype=np.float32)).max(1)
    print(f"nearest other identity at mean-pixel cosine > 0.9: {np.mean(nearest > 0.9):.1%}")
    test = np.flatnonzero(split[starts] == "test")
    gallery = starts[test] + np.random.default_rng((SEED, 2)).integers(counts[test])
    hits = []
    for row, (i, family) in enumerate(zip(test, group[gallery], strict=True)):
        probes = starts[i] + np.flatnonzero(group[starts[i] : starts[i] + counts[i]] != family)
        hits.extend((vectors[probes] @ vectors[gallery].T).argmax(1) == row)
    print(f"test pixel-cosine Rank-1, one gallery image, probes of other families: {np.mean(hits):.1%}")


def main() -> None:
    """Read the command line, make the set, write it and print its counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fonts", type=Path, help="folder of unpacked packages; else a temporary one")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="where the two files go")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.fonts or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        faces = list(open_faces(folder))
        table = make_table(choose_identities(faces), faces)
    write_files(table, faces, options.out)
    report(table)


if __name__ == "__main__":
    main()
