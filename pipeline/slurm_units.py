"""Memory and time as Slurm writes them, read for a scheduler that writes them otherwise."""

from __future__ import annotations

import re

from ..mining.errors import InputError

MEMORY = re.compile(r"(?P<number>[0-9]+)(?P<unit>[KMGT]?)", re.IGNORECASE)
DAYS = re.compile(r"(?P<d>[0-9]+)-(?P<h>[0-9]+)(:(?P<m>[0-9]+)(:(?P<s>[0-9]+))?)?")
CLOCK = re.compile(r"((?P<h>[0-9]+):)?(?P<m>[0-9]+):(?P<s>[0-9]+)|(?P<minutes>[0-9]+)")
NO_LIMIT = ("UNLIMITED", "INFINITE", "-1")


def memory_quantity(mem: str, where: str) -> str:
    """The same memory as a quantity of Kubernetes: 16G -> 16Gi, 900 -> 900Mi; Slurm counts in 1024 too.

    Args:
        where: what asks for it, for the message.

    Raises:
        InputError: no amount, or 0, which is all of a node to Slurm and nothing to Kubernetes.
    """
    found = MEMORY.fullmatch(mem.strip())
    if found is None:
        raise InputError(f"mem={mem} of {where} is no amount of memory; write it as 900M, 64G or 1T")
    if not int(found["number"]):
        raise InputError(f"mem={mem} of {where}: Kubernetes has no word for all of a node; say how much")
    return f"{int(found['number'])}{(found['unit'] or 'M').upper()}i"


def seconds(time: str, where: str) -> int | None:
    """A limit in seconds; None: no limit, which Slurm writes as UNLIMITED or 0.

    Minutes, MM:SS, HH:MM:SS, D-HH, D-HH:MM, D-HH:MM:SS, where every number may be larger than a clock shows.

    Args:
        where: what asks for it, for the message.

    Raises:
        InputError: none of these.
    """
    text = time.strip()
    if text.upper() in NO_LIMIT:
        return None
    found = DAYS.fullmatch(text) or CLOCK.fullmatch(text)
    if found is None:
        raise InputError(
            f"time={time} of {where} is no limit; write minutes (90), 4:00:00, or days and hours (2-12:00)"
        )
    part = {name: int(number or 0) for name, number in found.groupdict().items()}
    minutes = part["m"] + part.get("minutes", 0) + 60 * (part["h"] + 24 * part.get("d", 0))
    return 60 * minutes + part["s"] or None
