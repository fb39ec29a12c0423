"""The files of the benchmarks import one another as a script's do, from their own folder."""

from __future__ import annotations

import sys
from pathlib import Path

QUALITY = Path(__file__).resolve().parent.parent.parent / "benchmarks" / "quality"
sys.path[:0] = [str(QUALITY), str(QUALITY.parent), str(QUALITY.parent / "reliability")]
