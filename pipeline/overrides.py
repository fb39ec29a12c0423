"""Settings given on the command line of a stage: kept for the run, so that the next command has them too.

`RUN/overrides.json` holds them once a stage has begun its work with them. Where `subspace.yaml` is changed afterwards,
the file counts, as the newer word.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from omegaconf import OmegaConf

from ..mining.artifacts import read_json, write_json
from .config import read_settings
from .run_directory import RunDirectory

UNKEPT = "schedule."
"""No result depends on settings of this section, so they are not kept."""


def kept_overrides(run: RunDirectory) -> list[str]:
    """The kept settings, `section.key=value`, without those that `subspace.yaml` has changed since."""
    if not run.overrides.exists():
        return []
    settings = read_settings(run.config)
    kept: dict[str, dict[str, Any]] = read_json(run.overrides)
    return [
        f"{key}={entry['value']}"
        for key, entry in kept.items()
        if _in_file(settings, key) == entry["instead_of"]
    ]


def keep_overrides(run: RunDirectory, overrides: Sequence[str]) -> list[str]:
    """Keep settings for the next commands; return those that were not kept before."""
    wanted = [override for override in overrides if not override.startswith(UNKEPT)]
    before = kept_overrides(run)
    new = [override for override in wanted if override not in before]
    if new:
        settings = read_settings(run.config)
        pairs = (override.split("=", 1) for override in [*before, *wanted])
        kept = {key: {"value": value, "instead_of": _in_file(settings, key)} for key, value in pairs}
        write_json(run.overrides, kept)
    return new


def _in_file(settings: Any, key: str) -> Any:
    value = OmegaConf.select(settings, key)
    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
