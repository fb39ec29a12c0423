"""The recipe's files import one another as a script's do, from their own folder; so does what the tests share."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
RECIPE = HERE.parent.parent / "data_manifests" / "emoji"
sys.path[:0] = [str(RECIPE), str(HERE)]
