"""Settings that differ from the defaults stand first, with the default."""

from __future__ import annotations

from pathlib import Path

from made_up_runs import finish, made_up_run

from subspace.pipeline.report.run_report import RunReport
from subspace.pipeline.report_sections.settings import make_settings


def test_changed_settings_stand_first(tmp_path: Path) -> None:
    run = made_up_run(tmp_path / "run", "plan: {steps: 41}\ndata: {test_splits: [mine]}\nseed: 0")
    finish(run.start, "pretrain", steps=0)
    text = str(make_settings(RunReport.open(run.path)).html)
    first, everything = text.split("<details>")
    assert "3 settings of" in first  # the manifest has no default
    assert '<code>41</code> <span class="was">default <code>1000</code>' in first
    assert "[&#34;mine&#34;]" in first
    assert "batches in a round" in first
    assert "cluster.niter" not in first
    assert "cluster.niter" in everything
