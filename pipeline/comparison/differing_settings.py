"""The settings that are not the same in all runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..configuration.config import RunConfig

NOT_SET = "not set"
"""A setting that a run does not have, such as one of a loss that it does not use."""


def settings_that_differ(configs: Sequence[RunConfig]) -> dict[str, list[Any]]:
    """Settings by their full names, with the value of each run; only those that differ.

    >>> configs = [RunConfig(manifest="a.parquet", seed=seed) for seed in (0, 1)]
    >>> settings_that_differ(configs)
    {'seed': [0, 1]}
    """
    flat = [_flat(config.model_dump(mode="json")) for config in configs]
    keys = dict.fromkeys(key for settings in flat for key in settings)
    found = {key: [settings.get(key, NOT_SET) for settings in flat] for key in keys}
    return {key: values for key, values in found.items() if any(value != values[0] for value in values)}


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = value
    return found
