"""Fingerprints: hashes that say what a file was made from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
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
