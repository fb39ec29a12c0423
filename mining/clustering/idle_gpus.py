"""Whether FAISS sees the GPUs that torch sees: with faiss-cpu beside a CUDA torch, torch does the k-means there."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from importlib.metadata import distributions

from ..errors import SubspaceWarning

INSTALL = "pip uninstall -y faiss-cpu faiss-gpu && pip install faiss-gpu"


def faiss_packages() -> list[str]:
    """The installed packages that bring a module `faiss`, such as faiss-cpu."""
    names = {str(found.metadata["Name"]).lower().replace("_", "-") for found in distributions()}
    return sorted(name for name in names if name == "faiss" or name.startswith("faiss-"))


def faiss_gpus() -> int:
    """How many GPUs FAISS sees; 0 for one that was built for CPUs."""
    import faiss

    return getattr(faiss, "get_num_gpus", int)()


def problem_with_faiss(torch_sees: int, faiss_sees: int, packages: Collection[str]) -> str | None:
    """What is wrong with the FAISS that is installed, and what to do; None where nothing is.

    Args:
        torch_sees: GPUs.
        faiss_sees: GPUs.
        packages: as `faiss_packages` finds them.
    """
    if len(packages) > 1:
        return f"{' and '.join(packages)} overwrite each other's files; keep one: {INSTALL if torch_sees else 'pip uninstall'}"
    if torch_sees and not faiss_sees:
        why = f"{''.join(packages) or 'FAISS'} sees none"
        return f"torch sees {torch_sees} GPU{'s' * (torch_sees > 1)}, {why}: torch does the k-means there; for FAISS's: {INSTALL}"
    return None


def warn_of_idle_gpus(torch_sees: int) -> None:
    """Warn, in one line, where FAISS leaves the GPUs idle that torch sees."""
    problem = problem_with_faiss(torch_sees, faiss_gpus(), faiss_packages())
    if problem is not None:
        warnings.warn(problem, SubspaceWarning, stacklevel=2)
