"""The recipe's files import one another as a script's do, from their own folder."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent.parent.parent / "data_manifests" / "emoji")]
