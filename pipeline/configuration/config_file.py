"""`subspace.yaml`: read with overrides on top, checked, and written with a comment beside each setting."""

from __future__ import annotations

import difflib
import io
import json
import math
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError
from yaml import YAMLError

from ...mining.artifacts import write_text
from ...mining.errors import InputError, SubspaceWarning
from ...mining.json_documents import MOST_BITS
from ...mining.local_paths import in_shell
from ...mining.settings import Settings
from ...train.losses.building import check_loss, check_pretraining_loss
from ...train.losses.registry import renamed_arguments
from ...train.networks.registry import check_network
from .config import RunConfig
from .yaml_text import check_numbers, check_yaml, read_yaml_text

GONE = {"overlap": "no extraction runs ahead of an evaluation; remove the line"}
"""Settings of older versions that changed no result, and what has become of them."""

_OTHER_SETTING = re.compile(r"\$\{[\w.\[\]-]+\}")

MOST_KEY_CHARACTERS = 400
_SETTING = re.compile(r"[^-=.\[\]\s][^=.\[\]\s]*(\.[^=.\[\]\s]+)*")
_BRANCH = re.compile(r"\.(constrained-int|int|float|bool)$")
"""What pydantic puts behind the name of a setting that may be a number or a word."""


def load_config(path: Path | str, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a `subspace.yaml` and apply `section.key=value` overrides (OmegaConf's dot-list grammar).

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "subspace.yaml")
    >>> _ = path.write_text("manifest: photos.parquet\\nplan: {steps: 500}")
    >>> load_config(path, ["plan.K=4"]).plan.steps, load_config(path, ["plan.K=4"]).plan.K
    (500, 4)

    Raises:
        InputError: not a run, broken YAML, an unknown key, or a value of the wrong type or range.
    """
    return parse_config(read_settings(Path(path)), overrides, where=str(path))


def read_settings(path: Path) -> Any:
    """What a `subspace.yaml` says, unchecked.

    Raises:
        InputError: not a run, or broken YAML.
    """
    if not path.is_file():
        if path.parent.is_file():
            raise InputError(
                f"{path.parent} is a file, not a run folder; `subspace inspect {in_shell(path.parent)}` shows it"
            )
        raise InputError(
            f"{path.parent} is not a run (no {path.name}); make one with `subspace init {in_shell(path.parent)}`"
        )
    try:
        text = read_yaml_text(path)
        check_numbers(text)
        values = OmegaConf.load(io.StringIO(text))
    except (YAMLError, OmegaConfBaseException, OSError, ValueError, RecursionError, TypeError) as error:
        raise InputError(f"cannot read {path}: {_one_line(error)}") from error
    if not OmegaConf.is_dict(values):
        raise InputError(
            f"cannot read {path}: it is not a mapping of settings, as `subspace init` writes one"
        )
    return values


def parse_config(values: Any, overrides: Sequence[str], where: str) -> RunConfig:
    """Check `values` (a mapping) with `overrides` on top; `where` names their origin in errors."""
    check_overrides(overrides)
    try:
        merged = with_new_names(values)
        if overrides:
            merged = OmegaConf.merge(merged, with_new_names(OmegaConf.from_dotlist(list(overrides))))
        refuse_resolvers(OmegaConf.to_container(merged), where)
        plain = _without_gone(OmegaConf.to_container(merged, resolve=True), where)
        _check_values(plain, "")
        config = RunConfig.model_validate(plain)
        check_network(config.model, config.weights)
        check_loss(config.train.loss, config.train.loss_args)
        check_pretraining_loss(config.pretrain.loss, config.pretrain.loss_args)
        return config
    except InputError:
        raise
    except ValidationError as error:
        raise InputError(_explain(error, where)) from error
    except (
        OmegaConfBaseException,
        YAMLError,
        ValueError,
        TypeError,
        RecursionError,
        AttributeError,
    ) as error:
        raise InputError(f"cannot read the settings ({where}): {_one_line(error)}") from error


def check_overrides(overrides: Sequence[str]) -> None:
    """Refuse what is not `section.key=value`, and values that nothing could build.

    Raises:
        InputError: one of them is so.
    """
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals or not is_setting(key):
            raise InputError(
                f"override '{override[:100]}' is not of the form section.key=value, e.g. plan.steps=500"
            )
        try:
            check_yaml(value)
            check_numbers(value)
        except ValueError as error:
            raise InputError(f"override '{override[:100]}': {error}") from error


def is_setting(key: str) -> bool:
    """Whether a key could be that of a setting: words with single dots between them."""
    return len(key) <= MOST_KEY_CHARACTERS and _SETTING.fullmatch(key) is not None


def _one_line(error: Exception) -> str:
    return "it refers to itself" if isinstance(error, RecursionError) else " ".join(str(error).split())[:300]


def _check_values(values: Any, key: str) -> None:
    """Refuse what no setting is, wherever it is: it would be written into markers, which are strict JSON."""
    if isinstance(values, dict):
        for name, value in values.items():
            if not isinstance(name, str):
                raise ValueError(f"{key}{name!r} is no name of a setting")
            _check_values(value, f"{key}{name}.")
    elif isinstance(values, list):
        for value in values:
            _check_values(value, key)
    elif isinstance(values, float) and not math.isfinite(values):
        raise ValueError(f"{key.removesuffix('.')}={values} is not finite; null stands for none")
    elif isinstance(values, int) and values.bit_length() > MOST_BITS:
        raise ValueError(f"{key.removesuffix('.')} is a number of hundreds of digits")
    elif isinstance(values, str) and "\0" in values:
        raise ValueError(f"{key.removesuffix('.')}={values!r} holds a null character")


def refuse_resolvers(values: Any, where: str) -> None:
    """Refuse `${oc.env:HOME}` and the like: settings come with runs and checkpoints of others, and call nothing.

    `${plan.P}`, the value of another setting, is allowed.

    Raises:
        InputError: a text asks for more than that.
    """
    if isinstance(values, dict):
        for key, value in values.items():
            refuse_resolvers(key, where)
            refuse_resolvers(value, where)
    elif isinstance(values, list):
        for value in values:
            refuse_resolvers(value, where)
    elif isinstance(values, str) and "${" in _OTHER_SETTING.sub("", values):
        raise InputError(
            f"{values} ({where}): settings refer to settings, as in ${{plan.P}}, and to nothing else; write it out"
        )


def _without_gone(values: Any, where: str) -> Any:
    """The settings without those that older versions had; each is warned of."""
    for key, why in GONE.items():
        if isinstance(values, dict) and values.pop(key, None) is not None:
            warnings.warn(f"{key} ({where}) is no setting any more: {why}", SubspaceWarning, stacklevel=2)
    return values


def with_new_names(values: Any) -> Any:
    """OmegaConf's `values` with the settings of losses under their names of today, so that a later override meets an earlier
    value.
    """
    given = values if OmegaConf.is_config(values) else OmegaConf.create(values)  # which takes 5 ms
    plain, renamed = OmegaConf.to_container(given), False
    for section in ("train", "pretrain"):
        own = plain.get(section) if isinstance(plain, dict) else None
        if not isinstance(own, dict):
            continue
        arguments = own.get("loss_args")
        if isinstance(arguments, dict) and all(isinstance(its, dict) for its in arguments.values()):
            own["loss_args"] = renamed_arguments(arguments, f"{section}.loss")
            renamed = renamed or own["loss_args"] != arguments
    return OmegaConf.create(plain) if renamed else given


def _explain(error: ValidationError, where: str) -> str:
    """The first problem as one line: key, value, what is wrong, what was perhaps meant."""
    problem = error.errors()[0]
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        meant = _meant(key)
        hint = f"; did you mean '{meant}'?" if meant else "; `subspace init --help` names the sections"
        if meant == key and (section := key.rpartition(".")[0]):  # in a file, where dots stand for nothing
            hint = f"; write it as {section.replace('.', ': {')}: {{{key.rpartition('.')[2]}: ...}}{'}' * section.count('.')}"
        return f"unknown setting '{key}' ({where}){hint}"
    if problem["type"] == "missing":
        return f"setting '{key}' is missing ({where})"
    if problem["type"] == "value_error":  # a check of our own, of one setting (section.key) or over several
        place = f"{key}, {where}" if "." in key else where
        return f"{problem['msg'].removeprefix('Value error, ')} ({place})"
    key = _BRANCH.sub("", key)
    hint = "; write a list as [a,b]" if "tuple" in problem["msg"] else ""
    if problem["type"] == "string_type" and isinstance(problem["input"], bool | int | float):
        hint = '; what YAML reads as a number, or as yes or no, needs quotes to be a text: "0"'
    return f"setting '{key}={problem['input']}' ({where}): {problem['msg'].lower()}{hint}"


def _meant(key: str) -> str | None:
    """The setting that an unknown key is for: one of its last word in its section, or else the one spelt most alike."""
    section, _, _ = key.rpartition(".")
    known = list(_keys(RunConfig))
    same_word = [
        name
        for name in known
        if name.rpartition(".")[2] == key.rpartition(".")[2] and name.startswith(section and f"{section}.")
    ]
    same_word.sort(key=len)  # train.optimizer.lr before pretrain.optimizer.lr
    near = same_word or difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    return near[0] if near else None


def _keys(model: type[Settings], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Settings):
            yield prefix + name
            yield from _keys(field.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name


def write_config(path: Path, config: RunConfig, head: Sequence[str] = ()) -> None:
    """Write a commented `subspace.yaml`, whole or not at all; lines of `head` are its first comment."""
    lines = [
        *(f"# {line}" for line in head),
        "# Settings of this run. Any of them can be overridden on the command line: section.key=value",
        *_yaml_lines(config, indent=""),
    ]
    write_text(path, "\n".join(lines) + "\n")


def _yaml_lines(settings: Settings, indent: str) -> Iterator[str]:
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if isinstance(value, Settings):
            summary = (type(value).__doc__ or "").strip().splitlines()[0]
            yield from ("", f"{indent}# {summary}", f"{indent}{name}:")
            yield from _yaml_lines(value, indent + "  ")
        else:
            text = json.dumps(value, ensure_ascii=False)  # JSON scalars and lists are YAML
            yield f"{indent}{name}: {text}  # {field.description}"
