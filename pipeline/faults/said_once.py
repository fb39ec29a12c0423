"""How one of several processes that a launcher started (torchrun, srun) ends: what they all say is said by one of them.

They meet where they met to train: at the store of torch.distributed, which is process 0's, or torchrun's. Children of a
command of ours are no matter of this: their parent speaks.
"""

from __future__ import annotations

import os
import sys
import time
from datetime import timedelta
from hashlib import sha256

from ...mining.errors import LostContact, StoppedEarly
from ..child_processes import PARENT

REACHED_WITHIN = timedelta(seconds=3)
OTHERS_COME_WITHIN = 5.0
"""Seconds that process 0, whose store goes with it, waits for the others to have asked."""


def is_mine_to_say(error: BaseException) -> bool:
    """Whether this process says how it ends; the first that asks says it. Alone, a process says everything.

    Lines that differ are all said, but of lost contact there is one: it names its process. Where nobody can be asked,
    since process 0 is gone or not there yet, a process says its line; lost contact is said by process 1, or by the first of
    a machine.
    """
    several = int(os.environ.get("WORLD_SIZE", "1"))
    # Without torch it was no training yet: an error of this machine or of the command line.
    if several == 1 or PARENT in os.environ or "torch" not in sys.modules:
        return True
    from torch.distributed import DistError, TCPStore  # pyright: ignore[reportPrivateImportUsage]

    rank, lost = int(os.environ.get("RANK", "0")), isinstance(error, LostContact)
    said = "lost contact" if lost else sha256(str(error).encode()).hexdigest()
    try:
        store = TCPStore(
            os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), timeout=REACHED_WITHIN,
            wait_for_workers=False,
        )  # fmt: skip
        mine = store.add(f"said {said}", 1) == 1
        ended = store.add("ended", 1)
        latest = time.monotonic() + OTHERS_COME_WITHIN
        while not rank and isinstance(error, StoppedEarly) and ended < several and time.monotonic() < latest:
            time.sleep(0.1)
            ended = store.add("ended", 0)
    except (DistError, RuntimeError, KeyError, ValueError):
        return not lost or rank < 2 or os.environ.get("LOCAL_RANK") == "0"
    return mine
