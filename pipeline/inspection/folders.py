"""A table of what lies in a folder of a run: each file, what it is, how much, and since when."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq

from ...mining.errors import InputError
from ...mining.parquet_tables import DAMAGE
from ...mining.schemas import kind_of
from .. import stage_folder as files
from ..console import amount
from ..monitoring.round_figures import SHOWN
from ..run_directory import RunDirectory
from ..searching import index_record as of_index
from .summary import Summary
from .weights import TITLES, read_tensor_headers

RUN = RunDirectory(Path())
FILE_WORDS = {
    RUN.lock.name: "which command is at work",
    RUN.best_record.name: "the network that validates best",
    RUN.config.name: "settings of the run",
    RUN.image_index.name: "where the images lie",
    RUN.overrides.name: "settings given on the command line",
    RUN.rate_plot.name: "figure and loss over the learning rate",
    RUN.rate_trials.name: "what trials of learning rates came to",
    files.EVALUATION: "evaluation on the test identities",
    files.METRICS: "log of a training",
    files.TRACKERS: "runs of a training elsewhere",
    "curve.json": "a loss that a search found",
    "curve.svg": "a loss that a search found, drawn",
    "search.json": "what the epochs of a search came to",
    SHOWN: "stages whose figures trackers have",
    files.VALIDATION: "evaluation on the validation identities",
    "meta.json": "what a checkpoint says of itself",
    of_index.RECORD: "what an index is",
    of_index.IMAGES: "embeddings of an index, image by image",
    of_index.MEANS: "means of the identities of an index",
    of_index.OFFSET: "where the images of each identity begin",
    of_index.MEANS_INDEX: "index over the means",
    of_index.IMAGES_INDEX: "index over the images",
    "projector_config.pbtxt": "means of identities for TensorBoard",
    "submission.json": "jobs that were submitted",
}
"""What files of a run are, by their names."""
FOLDER_WORDS = {
    RUN.best.name: "the checkpoint that validates best",
    RUN.jobs.name: "submissions",
    RUN.tracked.name: "figures of every round, for trackers",
    RUN.rate_trials.parent.name: "trials of learning rates",
    files.CHECKPOINT: "checkpoint",
    files.CLEANING: "embeddings that cleaning is made from",
    files.EXPORT: "network for other programs",
    files.LOSS_SEARCH: "search for a loss",
    files.IDENTITY_PARTS: "parts of an extraction under way",
    files.PLAN: "batch plan",
    files.RESUME: "states to resume from",
    files.START: "starting network",
    files.TENSORBOARD: "curves for TensorBoard",
    "done": "completion markers",
    "logs": "what jobs said",
    "mlartifacts": "pictures for MLflow",
    "wandb": "curves for Weights & Biases",
}
"""What folders of a run are, by their names."""
FOLDERS_OF_DIGITS = {
    RUN.jobs.name: "a submission",
    files.TENSORBOARD: FILE_WORDS["projector_config.pbtxt"],
}
"""What folders with a number for a name are, by the folder that they lie in."""
NUMBERED = {files.ROUND: "round", "step-": "state to resume from"}
SUFFIX_WORDS = {
    ".log": "what a job said",
    ".md": "model card",
    ".onnx": "network in ONNX",
    ".out": "what a job said",
    ".pt2": "network as a program of torch",
    ".sh": "script of a job",
    ".yaml": "objects for Kubernetes",
}
TABLE_WORDS = {
    "manifest": ("image manifest", "images"),
    "identities": ("identity means", "identities"),
    "embeddings": ("embeddings", "images"),
    "quarantine": ("unreadable images", "images"),
    "subspaces": ("subspace of each identity", "identities"),
    "centroids": ("centroids of the subspaces", "subspaces"),
    "duplicates": ("suspected duplicates", "pairs"),
    "plan": ("batch plan", "batches"),
    "image_embeddings": ("embeddings of images", "images"),
    "embedding_rows": ("what the rows of a .npy are", "images"),
    "keep": ("what cleaning keeps and leaves out", "images"),
    "suspects": ("suspects of cleaning", "suspects"),
    "mistakes": ("worst mistakes of an evaluation", "mistakes"),
    "indexed_images": ("images of an index", "images"),
    "indexed_identities": ("identities of an index", "identities"),
}
"""What the tables of a run are, and what their rows are, by kind."""
ENTRIES_SHOWN = 100
UNKNOWN, DAMAGED = "not of a run", "damaged"


class Entry(NamedTuple):
    """One file or folder of a folder."""

    name: str
    what: str
    rows: int | None
    """Rows of a table, tensors of a file of weights, files of a folder."""
    unit: str
    bytes: int
    made: float
    """Seconds since 1970."""


def summarize_folder(folder: Path) -> Summary:
    """Summarise a folder by what lies in it.

    Raises:
        InputError: it is empty, or nothing in it is of a run.
    """
    try:
        entries = [
            _entry(path) for path in sorted(folder.iterdir()) if not path.name.endswith((".tmp", ".old"))
        ]
    except OSError as error:
        raise InputError(f"cannot read {folder}: {error.strerror}") from error
    if not entries:
        raise InputError(f"{folder} is empty")
    if all(entry.what in (UNKNOWN, DAMAGED) for entry in entries):
        raise InputError(
            f"{folder} holds nothing of a run that can be read; name a run, or one of its files or folders"
        )
    summary = Summary(str(folder), "folder", title=_folder_words(folder.absolute()))
    summary.add("files", len(entries), "files and folders")
    summary.add_bytes(sum(entry.bytes for entry in entries))
    summary.facts["entries"] = [entry._asdict() for entry in entries]
    rows = [["name", "what it is", "how many", "", "size", "made"]]
    for entry in entries:
        count = f"{entry.rows:,}" if entry.rows is not None else ""
        made = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.made))
        rows.append([entry.name, entry.what, count, entry.unit, amount(entry.bytes), made])
    summary.show_table("contents", rows, text=(0, 1, 3, 5), at_most=ENTRIES_SHOWN)
    return summary


def _entry(path: Path) -> Entry:
    if path.is_dir():
        count = size = 0
        for file in path.rglob("*"):
            if file.is_file():
                count, size = count + 1, size + file.stat().st_size
        unit = "file" if count == 1 else "files"
        return Entry(f"{path.name}/", _folder_words(path.absolute()), count, unit, size, path.stat().st_mtime)
    if not path.exists():
        return Entry(path.name, "link to nothing", None, "", 0, path.lstat().st_mtime)
    found = path.stat()
    return Entry(path.name, *_file_words(path), found.st_size, found.st_mtime)


def _folder_words(folder: Path) -> str:
    if (folder / of_index.RECORD).exists():
        return "index of `subspace index`"
    if folder.name.isdigit():
        is_of_index = (folder.parent / of_index.RECORD).exists()
        return "rows of an index" if is_of_index else FOLDERS_OF_DIGITS.get(folder.parent.name, UNKNOWN)
    numbered = (words for start, words in NUMBERED.items() if folder.name.startswith(start))
    return FOLDER_WORDS.get(folder.name) or next(numbered, UNKNOWN)


def _file_words(path: Path) -> tuple[str, int | None, str]:
    """What a file is, how many of what it holds."""
    if path.suffix == ".parquet":
        try:
            file = pq.ParquetFile(path)
            kind = kind_of(file.schema_arrow)
        except DAMAGE:
            return DAMAGED, None, ""
        words, rows = TABLE_WORDS[kind.name] if kind else (UNKNOWN, "rows")
        return words, file.metadata.num_rows, rows
    if path.suffix == ".safetensors":
        try:
            tensors = len(read_tensor_headers(path))
        except InputError:
            return DAMAGED, None, ""
        return TITLES.get(path.stem, "tensors"), tensors, "tensor" if tensors == 1 else "tensors"
    if path.suffix == ".json" and path.parent.name == "done":
        return f"completion marker of {path.stem}", None, ""
    if path.name.startswith("events.out.tfevents."):
        return "curves for TensorBoard", None, ""
    return FILE_WORDS.get(path.name) or SUFFIX_WORDS.get(path.suffix, UNKNOWN), None, ""
