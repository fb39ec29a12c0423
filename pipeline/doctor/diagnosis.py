"""All checks of `subspace doctor` in order; what a check itself fails with is a finding too."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from . import gpus, machine, speeds, versions
from .finding import Finding


def diagnose(quick: bool = False) -> Iterator[Finding]:
    """Every finding, as soon as it is there.

    Args:
        quick: leave out what takes seconds, the runs on each device.
    """
    yield from guarded("system", lambda: [versions.product(), versions.system()])
    found = list(guarded("packages", versions.packages))
    yield from found
    if any(finding.broken for finding in found):
        return  # the rest needs them all
    yield from guarded("GPUs", gpus.all_gpus)
    yield from guarded("machine", machine.all_of_it)
    if not quick:
        yield from guarded("speed", _speeds)


def _speeds() -> Iterator[Finding]:
    from ...mining.clustering.idle_gpus import faiss_gpus

    devices = ["cpu", *(f"cuda:{index}" for index in range(len(gpus.torch_gpus())))]
    return speeds.speeds_of(devices, faiss_gpus())


def guarded(name: str, check: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """The findings of a check, and what it failed with as one more that is broken."""
    try:
        yield from check()
    except Exception as error:  # a doctor goes on; libraries fail with nearly any type of error
        why = " ".join(str(error).split())
        yield Finding(
            name, f"failed: {type(error).__name__}: {why}", "this would fail in a run too", broken=True
        )


def refusal(findings: Iterable[Finding]) -> str | None:
    """One line on what no command can work with; None where all is well."""
    broken = [f"{finding.name} ({finding.value})" for finding in findings if finding.broken]
    return f"cannot work like this: {'; '.join(broken)}" if broken else None
