"""The JSON documents of a run, told apart by their keys: each shown in words, with the whole document as facts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ...mining.errors import InputError
from ...mining.json_documents import Document as Kind
from ...mining.json_documents import checked, damaged, read_json
from ...train.loss_search.curve import CurveFile
from ...train.monitoring.open_trackers import TrackerIds
from ..best import BestRecord
from ..console import duration, percent
from ..learning_rate.trials import TrialsFile
from ..learning_rate.verdict import newest_in_words
from ..loss_search.record import SearchFile
from ..monitoring.round_figures import Shown
from ..records.examination import Examination
from ..records.marker import marker_kind
from ..schedulers.submission import SubmissionFile
from ..stage_words import metric_in_words, summary_in_words
from .checkpoint import summarize_meta
from .settings_file import written
from .summary import Summary

Document = Mapping[str, Any]

MOST_ROWS = 50
COUNT_WORDS = {
    "identities": "identities",
    "probes": "probe images",
    "gallery": "gallery images",
    "distractors": "distractor images",
    "genuine_pairs": "genuine pairs",
    "impostor_pairs": "impostor pairs",
    "unreadable_images": "unreadable images, left out",
}
"""What the counts of an evaluation are called."""


def summarize_document(path: Path) -> Summary:
    """Summarise a JSON file.

    Raises:
        InputError: missing, not JSON, or none of a run's documents.
        StaleArtifactError: one with values of the wrong type or range.
    """
    document = read_json(path)
    known = document if isinstance(document, dict) else {}
    for keys, (kind, describe) in DESCRIBERS.items():
        if known.keys() >= set(keys):
            model = kind if isinstance(kind, type) else kind(str(known["stage"]))
            try:
                checked(known, model)
            except ValueError as error:
                raise damaged(path, str(error), "`subspace status RUN` says how it is made again") from error
            return describe(path, known)
    keys = ", ".join(map(str, list(known)[:8])) or "none"
    raise InputError(f"{path} is JSON, but no document of a run; its keys: {keys}")


def _marker(path: Path, document: Document) -> Summary:
    stage = document["stage"]
    summary = Summary(str(path), "marker", dict(document), title=f"completion marker of {stage}")
    summary.show("stage", words=stage)
    summary.show("result", words=summary_in_words(stage, document["summary"]))
    summary.show("took", words=duration(document["seconds"]))
    summary.show("finished", words=document["finished"])
    summary.show("fingerprint", words=document["fingerprint"])
    rows = [[key, written(value)] for key, value in document["fields"].items()]
    summary.show_table("made from these inputs and settings", [["name", "value"], *rows], text=(0, 1))
    return summary


def _evaluation(path: Path, document: Document) -> Summary:
    what = "validation" if path.stem == "validation" else "evaluation"
    summary = Summary(str(path), "evaluation", dict(document), title=f"{what} of a network")
    for key, label in COUNT_WORDS.items():
        if key in document:
            summary.add(key, document[key], label)
    summary.show("fingerprint", words=document["fingerprint"])
    rows = [["metric", "value", "95 % interval", "accepted above cosine"]]
    for name, metric in document["metrics"].items():
        low, high, threshold = (metric.get(key) for key in ("low", "high", "threshold"))
        rows.append(
            [
                name,
                "unknown" if metric["value"] is None else percent(metric["value"], 1),
                "" if low is None or high is None else f"{percent(low, 1)} to {percent(high, 1)}",
                "" if threshold is None else f"{threshold:.3f}",
            ]
        )
    summary.show_table("metrics", rows)
    return summary


def _best(path: Path, document: Document) -> Summary:
    summary = Summary(str(path), "best", dict(document), title="the network that validates best")
    metric = document["metric"]
    summary.show("network", words=document["network"])
    summary.show("checkpoint", words=document["checkpoint"])
    summary.show("validation", words=metric_in_words(metric, document["value"]))
    rows = [[name, percent(found["value"], 1)] for name, found in document["validations"].items()]
    summary.show_table("all networks", [["network", metric], *rows])
    return summary


def _trackers(path: Path, document: Document) -> Summary:
    summary = Summary(str(path), "trackers", dict(document), title="runs of a training elsewhere")
    for name, run_id in document["ids"].items():
        summary.show(name, words=str(run_id))
    summary.show("fingerprint", words=document["fingerprint"])
    return summary


def _tracked(path: Path, document: Document) -> Summary:
    summary = Summary(str(path), "tracked", dict(document), title="stages whose figures trackers have")
    rows = [[place, fingerprint] for place, fingerprint in document["shown"].items()]
    summary.show_table("stages", [["stage", "fingerprint"], *rows], text=(0, 1), at_most=MOST_ROWS)
    return summary


def _submission(path: Path, document: Document) -> Summary:
    summary = Summary(str(path), "submission", dict(document), title="jobs of one `subspace submit`")
    summary.show("scheduler", words=document["scheduler"])
    summary.show("user", words=document["user"])
    summary.show("run", words=document["run"])
    if document["overrides"]:
        summary.show("settings given with it", words=" ".join(document["overrides"]))
    rows = [["job", "number", "shards"]]
    for task in document["tasks"]:
        shards = f"{len(task['shards']):,} of {task['num_shards']:,}" if task["shards"] else ""
        rows.append([task["job"], str(task["id"]), shards])
    summary.show_table("jobs", rows, text=(0, 1), at_most=MOST_ROWS)
    return summary


def _rate_trials(path: Path, document: Document) -> Summary:
    summary = Summary(
        str(path), "rate_trials", dict(document), title="trials of learning rates by `subspace lr`"
    )
    summary.show("searches", words=f"{len(document['searches']):,}, by the settings that they depend on")
    summary.show("the newest", words=newest_in_words(path))
    for search in document["searches"][-1:]:
        known = (name for name, found in (search["start"] or {}).items() if found["value"] is not None)
        metric = search["best"]["metric"] if search["best"] else next(known, "")
        rows = [["lr", metric, "result", "steps", "took"]]
        for trial in search["trials"]:
            found = trial["metrics"].get(metric)
            value = percent(found["value"], 1) if found and found["value"] is not None else ""
            rows.append(
                [
                    f"{trial['rate']:g}",
                    value,
                    trial["state"],
                    f"{trial['steps']:,}",
                    duration(trial["seconds"]),
                ]
            )
        summary.show_table("its trials", rows, text=(0, 2))
    return summary


def _loss_search(path: Path, document: Document) -> Summary:
    summary = Summary(str(path), "loss_search", dict(document), title="search of `subspace search-loss`")
    fields, epochs = document["fields"], document["epochs"]
    summary.show("space", words=str(fields.get("space", "")))
    summary.show("epochs", words=f"{len(epochs):,} of {fields.get('epochs', '?')}")
    rows = [["epoch", *(f"c{number + 1}" for number in range(len(epochs[0]["candidates"]) if epochs else 0))]]
    for number, epoch in enumerate(epochs, 1):
        rewards = [
            each["state"] if each["reward"] is None else percent(each["reward"], 1)
            for each in epoch["candidates"]
        ]
        rows.append([str(number), *rewards])
    if len({len(row) for row in rows}) == 1:
        summary.show_table("rewards of its candidates", rows, at_most=MOST_ROWS)
    return summary


def _curve(path: Path, document: Document) -> Summary:
    summary = Summary(str(path), "loss_curve", dict(document), title="loss that a search found")
    for key in ("scale", "a"):
        summary.show(key, words=f"{document[key]:g}")
    for key in ("t", "tau"):
        rows = [["bin", "slope", "bias"]]
        pairs = zip(document[key]["slopes"], document[key]["biases"], strict=True)
        rows += [[str(place), f"{slope:.4f}", f"{bias:.4f}"] for place, (slope, bias) in enumerate(pairs, 1)]
        summary.show_table(key, rows, at_most=MOST_ROWS)
    return summary


def _meta(path: Path, document: Document) -> Summary:
    return summarize_meta(path)


DESCRIBERS: dict[
    tuple[str, ...], tuple[type[Kind] | Callable[[str], type[Kind]], Callable[[Path, Document], Summary]]
] = {
    ("stage", "fingerprint", "seconds", "finished", "summary"): (marker_kind, _marker),
    ("metrics", "identities", "fingerprint"): (Examination, _evaluation),
    ("network", "checkpoint", "metric", "validations"): (BestRecord, _best),
    ("fingerprint", "ids"): (TrackerIds, _trackers),
    ("shown",): (Shown, _tracked),
    ("scheduler", "tasks", "run"): (SubmissionFile, _submission),
    ("searches",): (TrialsFile, _rate_trials),
    ("fingerprint", "fields", "epochs"): (SearchFile, _loss_search),
    ("format", "scale", "tau"): (CurveFile, _curve),
    ("spec", "embedding_size", "step"): (Kind, _meta),
}
"""What a document is checked against and described by, by the keys that it has at least; a marker's kind is its stage's."""
