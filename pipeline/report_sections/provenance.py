"""What the figures were made from and by: fingerprints, versions, machines, and the commands that make them again."""

from __future__ import annotations

from ...mining.local_paths import in_shell
from ..best import kept_best, since_it_was_best
from ..configuration.overrides import kept_overrides
from ..console import duration
from ..report.run_report import RunReport
from ..report.section import Section, fill_section
from ..stage_words import metric_in_words, summary_in_words
from ..stages.graph import STAGES

TITLE = "Fingerprints and commands"
FACTS = ("device", "precision")


def make_provenance(report: RunReport) -> Section:
    """A row for each stage that is done, and the commands."""
    rows, commands, versions = [], [], {}
    for folder in report.folders:
        for stage in STAGES:
            if not folder.finished(stage.name):
                continue
            marker = folder.record(stage.name)
            summary = marker["summary"]
            versions[str(marker["fields"].get("code", "not said"))] = None
            on = " ".join(str(summary[fact]) for fact in FACTS if summary.get(fact))
            rows.append(
                [
                    f"{folder.name}/{stage.name}",
                    marker["fingerprint"],
                    marker["finished"],
                    duration(marker["seconds"]),
                    on,
                    summary_in_words(stage.name, summary),
                ]
            )
            commands.append(stage.command_in(report.run, folder.index))
    facts = [
        ["manifest", report.settings.manifest],
        ["fingerprint of the manifest", _fingerprint(report)],
        ["code", f"subspace {', '.join(versions)}"],
    ]
    if best := kept_best(report.run):
        facts.append(
            [
                "best network",
                f"{best['network']}, {metric_in_words(best['metric'], best['value'])} on validation{since_it_was_best(report.run, best)}",
            ]
        )
    return fill_section(
        "provenance",
        TITLE,
        facts=facts,
        rows=rows,
        whole=_whole(report),
        commands=list(dict.fromkeys(commands)),
    )


def _fingerprint(report: RunReport) -> str:
    """That of the manifest as it is, and beside it the one that the network was trained with, where that was another."""
    manifest, then = report.manifest, report.trained_with
    now = manifest.fingerprint if manifest else "not known: it is gone"
    return now if then in (None, now) else f"{now}; {then} when the network was trained"


def _whole(report: RunReport) -> list[str]:
    """The commands that make all of the run, check it, and make this page."""
    run = in_shell(report.run.path)
    settings = " ".join(in_shell(word) for word in kept_overrides(report.run))
    beside = "" if report.baseline is None else f" --baseline {in_shell(report.baseline.path)}"
    return [
        f"subspace run {run} {settings}".rstrip(),
        f"subspace status {run} --verify",
        f"subspace report {run}{beside} --seed {report.seed}",
    ]
