"""Versions of Python, of torch and FAISS, and of the packages below them."""

from __future__ import annotations

import platform
from collections.abc import Collection, Iterator
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

from .finding import Finding

PACKAGES = {"torch": "torch", "faiss": "FAISS", "numpy": "NumPy", "pyarrow": "Arrow", "PIL": "Pillow"}
"""Modules without which no command works, and how they are called."""
FAISS_MISSING = "pip install 'subspace-mining[cpu]' or 'subspace-mining[gpu]'"


def system() -> Finding:
    """The operating system and Python."""
    return Finding("system", f"{platform.platform()}, Python {platform.python_version()}")


def product() -> Finding:
    """The version of this product."""
    try:
        return Finding("subspace", version("subspace-mining"))
    except PackageNotFoundError:
        return Finding("subspace", "not installed as a package")


def packages() -> Iterator[Finding]:
    """The version of each package, or why it cannot be imported."""
    for module, name in PACKAGES.items():
        yield package(module, name)


def package(module: str, name: str) -> Finding:
    """The version of a package, or why it cannot be imported."""
    try:
        loaded = import_module(module)
    except Exception as error:  # libraries that cannot be loaded raise nearly any type of error
        why = " ".join(str(error).split()) or type(error).__name__
        advice = (
            FAISS_MISSING
            if module == "faiss" and isinstance(error, ModuleNotFoundError)
            else "install it again"
        )
        return Finding(name, f"cannot be imported: {why}", advice, broken=True)
    found = str(getattr(loaded, "__version__", "of an unknown version"))
    return Finding(name, found + _more(module), facts={"version": found})


def _more(module: str) -> str:
    if module == "torch":
        import torch

        return f" for CUDA {torch.version.cuda}" if torch.version.cuda else " without CUDA"
    if module == "faiss":
        from ...mining.clustering.idle_gpus import faiss_packages

        return build_of(faiss_packages())
    return ""


def build_of(installed: Collection[str]) -> str:
    """Which package FAISS is from."""
    return f" ({' and '.join(installed)})" if installed else " (from another source)"
