"""Fingerprints: hashes that say what a file was made from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

try:
    CODE_VERSION = version("subspace-mining")
except PackageNotFoundError:  # a checkout on the path that was never installed
    CODE_VERSION = "0+unknown"

CREATED_BY = f"subspace-mining {CODE_VERSION}"


def fingerprint_of(fields: Mapping[str, Any]) -> str:
    """32 hex digits that change when any of the JSON-like `fields` changes."""
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.blake2b(canonical.encode(), digest_size=16).hexdigest()


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, as `sha256sum` prints it; a mebibyte of memory, about a second a GiB."""
    found = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()
