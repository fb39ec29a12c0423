"""How long torch takes to load where a stage will need it, by how long this process took to load what it has."""

from __future__ import annotations

import sys
import time

_BEGUN = time.process_time()
"""Processor seconds in which Python, NumPy, Arrow and the command were loaded: this module comes with its stage."""
TIMES_AS_LONG = 2.0
"""torch, and FAISS behind it, beside that."""


def torch_seconds() -> float:
    """Seconds until torch is there; 0 where it is already.

    >>> import torch
    >>> torch_seconds()
    0.0
    """
    return 0.0 if "torch" in sys.modules else TIMES_AS_LONG * min(_BEGUN, time.process_time())
