"""Where the time of a training went, from its metrics.jsonl; no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def sum_phases(lines: Sequence[Mapping[str, float | None]]) -> dict[str, float] | None:
    """Seconds of each phase over all lines, and `other`: the rest; None where phases were not timed.

    The phase `loss` is called `mine` where triplets were mined.
    """
    mines = any(line.get("active_fraction") is not None for line in lines)
    seconds: dict[str, float] = {}
    for line in lines:
        for key, value in line.items():
            if key.startswith("seconds_") and value is not None:
                name = key.removeprefix("seconds_")
                name = "mine" if mines and name == "loss" else name
                seconds[name] = seconds.get(name, 0.0) + value
    if not seconds:
        return None
    whole = lines[-1].get("seconds") or 0.0
    return {**seconds, "other": max(0.0, whole - sum(seconds.values()))}
