"""faiss-cpu beside a CUDA torch is warned of, in one line with the command that mends it."""

from __future__ import annotations

import warnings

import pytest

from subspace.mining.clustering import idle_gpus as module
from subspace.mining.clustering.idle_gpus import faiss_packages, problem_with_faiss, warn_of_idle_gpus
from subspace.mining.errors import SubspaceWarning


@pytest.mark.parametrize(("torch_sees", "faiss_sees", "packages", "words"), [
    (1, 0, ["faiss-cpu"], "torch sees 1 GPU, faiss-cpu sees none: torch does the k-means there; for FAISS's: pip uninstall -y faiss-cpu"),
    (8, 0, [], "torch sees 8 GPUs, FAISS sees none"),
    (1, 1, ["faiss-cpu", "faiss-gpu"], "faiss-cpu and faiss-gpu overwrite each other's files; keep one"),
    (1, 1, ["faiss-gpu"], None), (0, 0, ["faiss-cpu"], None), (0, 0, ["faiss-gpu"], None),
])  # fmt: skip
def test_an_idle_gpu_is_found(
    torch_sees: int, faiss_sees: int, packages: list[str], words: str | None
) -> None:
    found = problem_with_faiss(torch_sees, faiss_sees, packages)
    assert (found is None) if words is None else (found is not None and found.startswith(words))


def test_it_is_one_warning_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "faiss_gpus", lambda: 0)
    monkeypatch.setattr(module, "faiss_packages", lambda: ["faiss-cpu"])
    with pytest.warns(SubspaceWarning, match="torch sees 2 GPUs"):
        warn_of_idle_gpus(2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_idle_gpus(0)


def test_the_faiss_of_this_environment_is_known_by_name() -> None:
    assert [name for name in faiss_packages() if name.startswith("faiss-")]
