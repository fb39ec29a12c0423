"""YAML: the settings that differ from the defaults, and the objects of Kubernetes."""

from __future__ import annotations

from pathlib import Path

import pytest

from subspace.mining import InputError, StaleArtifactError
from subspace.pipeline.configuration.config import RunConfig
from subspace.pipeline.configuration.config_file import write_config
from subspace.pipeline.inspection.settings_file import summarize_overrides, summarize_yaml


def test_settings_that_differ_from_the_defaults_are_shown(tmp_path: Path) -> None:
    config = RunConfig.model_validate({"manifest": "m.parquet", "eval": {"fars": [0.01]}, "plan": {"P": 16}})
    write_config(tmp_path / "subspace.yaml", config)
    summary = summarize_yaml(tmp_path / "subspace.yaml")
    shown = [" ".join(line.split()) for line in summary.lines()]
    default = RunConfig(manifest="").plan
    assert f"plan.P 16 {default.P}" in shown
    assert "eval.fars [0.01] [0.01,0.001,0.0001]" in shown
    assert f"batch {16 * default.K} images, {default.K} of each of 16 identities" in shown
    assert len([line for line in shown if line.startswith(("plan.", "eval.", "train.", "data."))]) == 2
    assert summary.facts["plan"]["P"] == 16


def test_objects_of_kubernetes(tmp_path: Path) -> None:
    path = tmp_path / "01-start.yaml"
    path.write_text(
        "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: run-start\n---\napiVersion: v1\nkind: List\n"
    )
    summary = summarize_yaml(path)
    assert summary.facts["names"] == ["Job/run-start", "List/without a name"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [1", "not readable YAML"),
        ("a: 1", "neither the settings of a run"),
        ("", "neither the settings of a run"),
        ("manifest: m.parquet\nplan: {Q: 3}", "unknown setting 'plan.Q'"),
    ],
)
def test_other_yaml_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "some.yaml").write_text(text)
    with pytest.raises(InputError, match=says):
        summarize_yaml(tmp_path / "some.yaml")


def test_kept_overrides(tmp_path: Path) -> None:
    path = tmp_path / "overrides.json"
    path.write_text(
        '{"plan.P": {"value": "16", "instead_of": 128}, "eval.fars": {"value": "[0.1]", "instead_of": [0.01]}}'
    )
    shown = [" ".join(line.split()) for line in summarize_overrides(path).lines()]
    assert "settings 2" in shown
    assert "plan.P 16 128" in shown
    assert "eval.fars [0.1] [0.01]" in shown
    for text in ("{", "[]", '{"plan.P": 16}'):
        path.write_text(text)
        with pytest.raises(StaleArtifactError, match=r"overrides\.json"):
            summarize_overrides(path)
