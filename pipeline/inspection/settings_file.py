"""The settings of a run, in subspace.yaml and overrides.json, and YAML that Kubernetes is given."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from ...mining.errors import InputError
from ..configuration.overrides import read_overrides
from ..configuration.yaml_text import read_yaml_text
from .summary import Summary


def summarize_yaml(path: Path) -> Summary:
    """Summarise a subspace.yaml, or a file of Kubernetes objects.

    Raises:
        InputError: missing, not YAML, something else, or settings that no run can have.
    """
    try:
        documents = [document for document in yaml.safe_load_all(read_yaml_text(path)) if document]
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except InputError:
        raise
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is not readable YAML: {' '.join(str(error).split())[:200]}") from error
    if documents and all(
        isinstance(found, dict) and {"apiVersion", "kind"} <= set(found) for found in documents
    ):
        return _kubernetes(path, documents)
    if len(documents) == 1 and isinstance(documents[0], dict) and "manifest" in documents[0]:
        return _settings(path)
    raise InputError(f"{path} is YAML, but neither the settings of a run nor objects for Kubernetes")


def summarize_overrides(path: Path) -> Summary:
    """Summarise an overrides.json: settings given on the command line, and what subspace.yaml had instead.

    Raises:
        InputError: missing. StaleArtifactError: damaged.
    """
    kept = read_overrides(path)
    rows = [[key, written(entry["value"]), written(entry["instead_of"])] for key, entry in kept.items()]
    summary = Summary(
        str(path), "overrides", kept, title="settings given on the command line, kept for the run"
    )
    summary.show("settings", f"{len(rows):,}")
    summary.show_table("settings", [["setting", "value", "in subspace.yaml"], *rows], text=(0, 1, 2))
    return summary


def written(value: Any) -> str:
    """The value of a setting as subspace.yaml has it; text without quotes."""
    if isinstance(value, list):
        return f"[{','.join(map(written, value))}]"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _settings(path: Path) -> Summary:
    from ..configuration.config import RunConfig
    from ..configuration.config_file import load_config

    config = load_config(path)
    here = config.model_dump(mode="json")
    default = RunConfig(manifest=config.manifest).model_dump(mode="json")
    summary = Summary(str(path), "settings", here, title="settings of a run")
    summary.show("manifest", words=config.manifest)
    summary.show("network", words=config.model)
    summary.show("rounds", f"{config.rounds:,}")
    summary.show("training steps", f"{config.plan.steps:,}", "each round")
    summary.show(
        "batch",
        f"{config.plan.P * config.plan.K:,}",
        f"images, {config.plan.K} of each of {config.plan.P} identities",
    )
    usual = dict(_flat(default))
    changed = [
        [key, written(value), written(usual.get(key))]
        for key, value in _flat(here)
        if value != usual.get(key)
    ]
    changed = [row for row in changed if row[0] not in ("manifest", "model", "rounds")]
    if changed:
        summary.show_table(
            "other than the defaults", [["setting", "here", "default"], *changed], text=(0, 1, 2)
        )
    else:
        summary.show("all else", words="as by default")
    return summary


def _flat(settings: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + str(key), value


def _kubernetes(path: Path, documents: list[dict[str, Any]]) -> Summary:
    summary = Summary(str(path), "kubernetes", title="objects for Kubernetes")
    summary.add("objects", len(documents))
    rows = []
    for found in documents:
        metadata = found.get("metadata")
        name = metadata.get("name") if isinstance(metadata, dict) else None
        rows.append([str(found["kind"]), str(name or "without a name")])
    summary.facts["names"] = [f"{kind}/{name}" for kind, name in rows]
    summary.show_table("objects", [["kind", "name"], *rows], text=(0, 1))
    summary.show("to apply it", words=f"kubectl apply --filename {path}")
    return summary
