"""Damaged files of a run that are no tables: how each is damaged, the command that meets it, and the line that it says."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

Damage = Callable[[Path], None]


class Case(NamedTuple):
    """One damaged file."""

    name: str
    file: str
    """Relative to a finished run of two rounds."""
    damage: Damage
    command: tuple[str, ...]
    """Words of a command; RUN stands for the run."""
    exit_code: int
    line: str
    """A part of the one line on standard error."""


def bytes_of(data: bytes) -> Damage:
    """The file holds these bytes instead."""
    return lambda path: (path.parent.mkdir(parents=True, exist_ok=True), path.write_bytes(data))[0]


def changed(change: Callable[[Any], object]) -> Damage:
    """The JSON of the file, changed in place."""

    def damage(path: Path) -> None:
        value = json.loads(path.read_bytes())
        change(value)
        path.write_text(json.dumps(value))

    return damage


def put(*keys: str, value: Any) -> Damage:
    """The value at these keys is another."""

    def change(document: Any) -> None:
        for key in keys[:-1]:
            document = document[key]
        document[keys[-1]] = value

    return changed(change)


def without(key: str) -> Damage:
    """A key is gone."""
    return changed(lambda document: document.pop(key))


def cut(path: Path) -> None:
    """The second half is gone."""
    os.truncate(path, path.stat().st_size // 2)


def flipped(path: Path) -> None:
    """Every bit of a byte of the header is another."""
    data = bytearray(path.read_bytes())
    data[20] ^= 0xFF
    path.write_bytes(bytes(data))


def loop(path: Path) -> None:
    """A link to itself."""
    path.unlink(missing_ok=True)
    path.symlink_to(path.name)


def no_json(path: Path) -> Iterator[tuple[str, Damage]]:
    """What is no JSON object that anything could use."""
    yield "empty", bytes_of(b"")
    yield "cut short", bytes_of(b'{"stage": "tr')
    yield "a list", bytes_of(b"[]")
    yield "a number", bytes_of(b"3")
    yield "null", bytes_of(b"null")
    yield "NaN", bytes_of(b'{"a": NaN}')
    yield "nested", bytes_of(b"[" * 100_000)
    yield "objects nested", bytes_of(b'{"a":' * 2_000 + b"1" + b"}" * 2_000)
    yield "not UTF-8", bytes_of(b'{"stage": "\xff\xfe"}')
    yield "5,000 digits", bytes_of(b'{"a": ' + b"9" * 5_000 + b"}")
    yield "zeros", bytes_of(bytes(4096))


TRAIN, EXTRACT = "round-000/done/train.json", "round-000/done/extract.json"
RUN, STATUS = ("run", "RUN"), ("status", "RUN")
EVAL = ("eval", "RUN")
EXPORT = ("export", "RUN", "--to", "safetensors")
META, WEIGHTS = "round-001/checkpoint/meta.json", "round-001/checkpoint/model.safetensors"


def _markers() -> Iterator[Case]:
    for name, damage in no_json(Path()):
        yield Case(f"marker: {name}", TRAIN, damage, RUN, 3, "train.json is damaged")
        yield Case(
            f"marker: {name}",
            EXTRACT,
            damage,
            ("cluster", "RUN", "--round", "0"),
            3,
            "extract.json is damaged",
        )
    for name, damage in {
        "of another stage": put("stage", value="plan"),
        "no fingerprint": without("fingerprint"),
        "fingerprint a number": put("fingerprint", value=3),
        "seconds negative": put("seconds", value=-1),
        "seconds a text": put("seconds", value="long"),
        "summary a list": put("summary", value=[]),
        "no summary": without("summary"),
        "steps a text": put("summary", "steps", value="8"),
        "steps missing": put("summary", value={}),
        "loss a list": put("summary", "loss", value=[1]),
        "fields null": put("fields", value=None),
    }.items():
        yield Case(f"marker: {name}", TRAIN, damage, RUN, 3, "`subspace train RUN --round 0 --force`")


def _examinations() -> Iterator[Case]:
    for name, damage in no_json(Path()):
        yield Case(
            f"validation: {name}", "start/validation.json", damage, RUN, 3, "`subspace eval RUN --force`"
        )
        yield Case(
            f"evaluation: {name}", "start/evaluation.json", damage, EVAL, 3, "`subspace eval RUN --force`"
        )
    for name, damage in {
        "no metrics": without("metrics"),
        "metrics empty": put("metrics", value={}),
        "a metric is a number": put("metrics", "Rank-1", value=3),
        "a value is a text": put("metrics", "Rank-1", "value", value="good"),
        "identities negative": put("identities", value=-1),
    }.items():
        yield Case(
            f"evaluation: {name}", "start/evaluation.json", damage, EVAL, 3, "evaluation.json is damaged"
        )
        yield Case(
            f"inspected evaluation: {name}", "start/evaluation.json", damage,
            ("inspect", "RUN/start/evaluation.json"), 2 if name == "no metrics" else 3, "evaluation.json is",
        )  # fmt: skip


def _best() -> Iterator[Case]:
    for name, damage in no_json(Path()):
        yield Case(f"best: {name}", "best.json", damage, STATUS, 3, "`subspace run RUN` writes it anew")
    for name, damage in {
        "outside": put("checkpoint", value="../../etc"),
        "a network outside": put("network", value="../x"),
        "no such network": put("network", value="round-007"),
        "a value is null": put("value", value=None),
        "no validations": put("validations", value={}),
        "a validation is a list": put("validations", "start", value=[]),
        "a validation elsewhere": put("validations", "../x", value={"value": 1, "fingerprint": "a"}),
    }.items():
        yield Case(f"best: {name}", "best.json", damage, EXPORT, 3, "best.json is damaged")


def _logs() -> Iterator[Case]:
    line = b'{"step": 0, "loss": 1.0}\n'
    for name, damage in {
        "a list": b"[]\n", "no step": b'{"loss": 1}\n', "NaN": b'{"step": 1, "loss": NaN}\n',
        "a text": b'{"step": "1"}\n', "negative": b'{"step": -1}\n', "half": b'{"step": 1, "lo\n', "empty": b"\n",
        "not UTF-8": b"\xff\n", "nested": b'{"step": ' + b"[" * 9_999 + b"\n", "zeros": bytes(99) + b"\n",
    }.items():  # fmt: skip
        for command in (STATUS, ("inspect", "RUN/round-000/metrics.jsonl")):
            yield Case(
                f"log: {name}", "round-000/metrics.jsonl", bytes_of(line + damage + line), command, 3, "line 2",
            )  # fmt: skip


def _checkpoints() -> Iterator[Case]:
    for name, damage in no_json(Path()):
        yield Case(
            f"meta: {name}", META, damage, ("inspect", "RUN/round-001/checkpoint"), 3, "meta.json is damaged"
        )
    for name, damage in {
        "embedding_size 0": put("embedding_size", value=0),
        "embedding_size huge": put("embedding_size", value=1 << 40),
        "spec a list": put("spec", value=[]),
        "collapse a list": put("collapse", value=[]),
        "config null": put("config", value=None),
        "an unknown key": put("later", value=1),
        "no step": without("step"),
    }.items():
        yield Case(
            f"meta: {name}", META, damage, ("eval", "RUN/round-001/checkpoint"), 3, "meta.json is damaged"
        )
    for name, damage in {
        "empty": bytes_of(b""), "cut short": cut, "a header's byte": flipped, "text": bytes_of(b"x" * 999),
        "gone": Path.unlink, "a long header": bytes_of(b"\xff" * 8 + b"{}"), "a link to itself": loop,
    }.items():  # fmt: skip
        yield Case(
            f"weights: {name}", WEIGHTS, damage, ("eval", "RUN/round-001/checkpoint"), 3, "--force",
        )  # fmt: skip


def _settings() -> Iterator[Case]:
    laughs = "".join(
        f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    for name, text in {
        "nested": b"[" * 100_000, "nested in a section": b"manifest: m\nplan: " + b"{a: " * 5_000, "a list": b"[1]",
        "a number": b"3", "5,000 digits": b"manifest: m\nseed: " + b"9" * 5_000, "not UTF-8": b"manifest: \xff\n",
        "aliases": b"manifest: m\na: &a [1,1,1,1,1,1,1,1,1]\n" + laughs.encode(), "itself": b"a: &a [*a]\n",
        "a tag": b"manifest: !!python/object/apply:os.system [ls]\n", "a key that is a number": b"manifest: m\n1: 2\n",
        "a key that is null": b"manifest: m\nnull: 2\n", "a null character": b'manifest: "a\\0"\n',
        "a null character in a checkpoint": b'manifest: m\nmodel: "checkpoint:a\\0b"\n',
        "infinity": b"manifest: m\ntrain: {optimizer: {clip_norm: .inf}}\n", "itself by reference": b"manifest: ${manifest}\n",
        "two documents": b"manifest: m\n---\nmanifest: m\n", "a section that is a list": b"manifest: m\nplan: [1]\n",
        "large": b"# " + b"x" * (2 << 20) + b"\n", "not closed": b"manifest: [",
    }.items():  # fmt: skip
        yield Case(f"settings: {name}", "subspace.yaml", bytes_of(text), STATUS, 2, "subspace.yaml")
    for name, word in {
        "nested": "plan.P=" + "[" * 9_999, "digits": "seed=" + "9" * 5_000, "no key": "=3", "dots": "plan..P=3",
        "a bracket": "[=3", "not closed": "plan.P={", "a resolver": "manifest=${oc.env:HOME}", "itself": "model=${model}",
    }.items():  # fmt: skip
        yield Case(f"override: {name}", "subspace.yaml", lambda path: None, (*STATUS, word), 2, "")
    for name, damage in no_json(Path()):
        yield Case(f"overrides: {name}", "overrides.json", damage, STATUS, 3, "overrides.json is damaged")
    for name, text in {
        "a value is a number": b'{"plan.P": {"value": 8, "instead_of": 4}}',
        "an entry is a list": b'{"plan.P": []}',
        "no key": b'{"": {"value": "8", "instead_of": 4}}',
        "dots": b'{"a..b": {"value": "8", "instead_of": 4}}',
    }.items():
        yield Case(
            f"overrides: {name}", "overrides.json", bytes_of(text), STATUS, 3, "overrides.json is damaged"
        )


def _others() -> Iterator[Case]:
    for name, damage in no_json(Path()):
        yield Case(
            f"trials: {name}", "lr/trials.json", damage, STATUS, 3, "remove it, the trials are made again"
        )
        yield Case(
            f"submission: {name}", "jobs/001/submission.json", damage, STATUS, 3, "submission.json is damaged"
        )
    for name, text in {
        "a trial without a rate": b'{"searches": [{"fingerprint": "a", "fields": {}, "start": null, "best": null, "trials": [{}]}]}',
        "a best that none is": b'{"searches": [{"fingerprint": "a", "fields": {}, "start": {}, "best": {"rate": 1, "metric": "Rank-1", "value": 1}, "trials": []}]}',
    }.items():  # fmt: skip
        yield Case(f"trials: {name}", "lr/trials.json", bytes_of(text), STATUS, 3, "trials.json is damaged")
    for name, path in {
        "a link to itself": "RUN/itself",
        "a long name": "RUN/" + "a" * 300,
        "null": "RUN/none",
    }.items():
        yield Case(f"path: {name}", "itself", loop, ("inspect", path), 2, "")
        yield Case(
            f"path of a source: {name}", "itself", loop, ("ingest", path, "--out", "RUN/m.parquet"), 2, ""
        )
        yield Case(f"path of a run: {name}", "itself", loop, ("status", path), 2, "")


CASES = [
    *_markers(), *_examinations(), *_best(), *_logs(), *_checkpoints(), *_settings(), *_others(),
]  # fmt: skip
