"""Every font file is drawn once, and its drawings are kept in a folder named after all that they depend on.

DRAWN/<fingerprint>/{pictures.npy, entries.npy, faces.json}
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import draw_faces
import freetype
import numpy as np
from draw_faces import draw_file
from font_faces import name_of, open_faces

from subspace.mining.artifacts import whole_folder
from subspace.mining.fingerprints import fingerprint_of
from subspace.mining.json_documents import read_json

DRAWING = {
    name: getattr(draw_faces, name) for name in ("SIDE", "EM", "INK", "LEAST_INK", "DARK", "PLACEHOLDER")
}
FREETYPE = ".".join(map(str, freetype.version()))


def draw_font(path: Path, drawn: Path) -> Path:
    """Draw a font file into its own folder below `drawn`, unless that is there; return the folder."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    folder = drawn / fingerprint_of({"font": digest, "freetype": FREETYPE, "drawing": DRAWING})
    if folder.is_dir():
        return folder
    drawings = draw_file(path)
    names = [{"index": face.face_index & 0xFFFF, **name_of(face)._asdict()} for face in open_faces(path)]
    told = {"sha256": digest, "blank": drawings.blank, "placeholders": drawings.placeholders, "faces": names}
    with whole_folder(folder) as aside:
        np.save(aside / "pictures.npy", drawings.pictures)
        np.save(aside / "entries.npy", drawings.entries)
        (aside / "faces.json").write_text(json.dumps(told, indent=1))
    return folder


def pictures_path(folder: Path) -> Path:
    """The pictures in a folder that `draw_font` made, uint8[R, 512]."""
    return folder / "pictures.npy"


def entries_of(folder: Path) -> np.ndarray:
    """Which face draws which character as which picture: draw_faces.ENTRY[E]."""
    return np.load(folder / "entries.npy")


def told_of(folder: Path) -> dict[str, Any]:
    """The file's sha256, what was left out, and the names of its faces."""
    return read_json(folder / "faces.json")
