"""Settings given on the command line of a stage: kept for the run, so that the next command has them too.

`RUN/overrides.json` holds them once a stage has worked with them. Where `subspace.yaml` is changed afterwards, the file
counts, as the newer word. `~section.key` takes a setting back, as Hydra writes it: that of `subspace.yaml` counts again.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import model_validator
from yaml import YAMLError

from ...mining.artifacts import write_json
from ...mining.errors import InputError, SubspaceWarning
from ...mining.json_documents import Document, read_document
from ...mining.remote import is_url
from ...train.loss_search.curve import SEARCHED_PREFIX, terms_of
from ...train.losses.registry import current_name
from ...train.networks.registry import CHECKPOINT_PREFIX, PRETRAINED, file_of, path_and_part
from ..run_directory import RunDirectory
from .config_file import check_overrides, is_setting, read_settings, with_new_names

TAKE_BACK = "~"
UNKEPT = "schedule"
"""No result depends on settings of this section, so they are not kept."""
FILES, NETWORKS = ("manifest", "weights", "data.cleaned"), ("model",)
"""Settings that name a file, and those that may name one behind the kind of a network."""
LOSSES = ("train.loss", "pretrain.loss")
"""Settings that may name one, behind `searched:`."""
PATHS = (*FILES, *NETWORKS, *LOSSES)
FALLS_WITH = {
    "train.loss": ("train.loss_args",),
    "pretrain.loss": ("pretrain.loss_args",),
    "plan.strategy": ("plan.group_size", "plan.random_fraction"),
    "train.optimizer.name": ("train.optimizer.lr",),
}
"""Settings that mean nothing once another one is given anew."""


class _Entry(Document):
    value: str
    instead_of: Any


class KeptOverrides(Document):
    """What overrides.json holds: an entry for each setting."""

    __pydantic_extra__: dict[str, _Entry]  # pyright: ignore[reportIncompatibleVariableOverride]

    @model_validator(mode="after")
    def _are_settings(self) -> KeptOverrides:
        for key in self.__pydantic_extra__:
            if not is_setting(key):
                raise ValueError(f"{key!r} is no setting")
        return self


def kept_overrides(run: RunDirectory, given: Sequence[str] = ()) -> list[str]:
    """The kept settings that are in force beside those given now, `section.key=value`.

    Left out are those that `subspace.yaml` has changed since, and those that a given one replaces.

    Raises:
        InputError: a given one is no setting, or no YAML.
        StaleArtifactError: the file is not as this program writes it.
    """
    entries = _entries(run)
    if not entries:
        return []
    check_overrides([word for word in given if not word.startswith(TAKE_BACK)])
    settings, given = _settings(run), one_by_one(given)
    kept = {
        key: f"{key}={entry['value']}"
        for key, entry in entries.items()
        if _in_file(settings, key) == entry["instead_of"]
    }
    replaced = [setting_of(override) for override in given]
    for override in given:
        key = setting_of(override)
        before = value_of(kept[key]) if key in kept else _in_file(settings, key)
        if override.startswith(TAKE_BACK) or value_of(override) != before:
            replaced += FALLS_WITH.get(key, ())
    return [override for key, override in kept.items() if not _overlaps(key, replaced)]


def keep_overrides(run: RunDirectory, given: Sequence[str]) -> list[str]:
    """Keep settings for the next commands, and forget those that are taken back; return what is new in that."""
    back = taken_back(given)
    values = one_by_one(word for word in given if word not in back)
    pairs = ((setting_of(override), override.split("=", 1)[1]) for override in values)
    newest = {key: f"{key}={value}" for key, value in pairs if key.split(".")[0] != UNKEPT}
    before = kept_overrides(run)
    new = [override for override in newest.values() if override not in before]
    gone = [word for word in back if any(_overlaps(setting_of(word), [setting_of(kept)]) for kept in before)]
    if new or gone:
        settings = _settings(run)
        kept = [*kept_overrides(run, [*back, *newest.values()]), *newest.values()]
        pairs = ((setting_of(override), override.split("=", 1)[1]) for override in kept)
        entries = {key: {"value": value, "instead_of": _in_file(settings, key)} for key, value in pairs}
        write_json(run.overrides, entries)
    return [*new, *gone]


def one_by_one(given: Iterable[str]) -> list[str]:
    """The same with a mapping written as its settings, which it is merged as; so each is replaced by itself.

    >>> one_by_one(["train.optimizer={name: sgd, lr: 0.2}", "plan={}", "~rounds"])
    ['train.optimizer.name=sgd', 'train.optimizer.lr=0.2', 'plan={}', '~rounds']
    """
    leaves: list[str] = []
    for override in given:
        value = None if override.startswith(TAKE_BACK) else value_of(override)
        keys = [f"{setting_of(override)}.{name}" for name in value] if isinstance(value, dict) else []
        if not keys or not all(map(is_setting, keys)) or any("." in str(name) for name in value or ()):
            leaves.append(override)
        else:
            texts = (as_text(one) for one in (value or {}).values())
            leaves += one_by_one(f"{key}={text}" for key, text in zip(keys, texts, strict=True))
    return leaves


def value_of(override: str) -> Any:
    """What `section.key=value` sets, as YAML reads it.

    Raises:
        InputError: it is no YAML.

    >>> value_of("plan.K=4"), value_of("train.loss=oim"), value_of("plan={K: 4}")
    (4, 'oim', {'K': 4})
    """
    try:
        plain = OmegaConf.to_container(OmegaConf.from_dotlist(["it=" + override.partition("=")[2]]))
    except (OmegaConfBaseException, YAMLError) as error:
        raise InputError(f"override '{override[:100]}': {' '.join(str(error).split())[:200]}") from error
    return plain["it"] if isinstance(plain, dict) else None


def as_text(value: Any) -> str:
    """A value as it is written behind `=`: as it is where YAML reads it so, else as JSON.

    >>> as_text("sgd"), as_text("no"), as_text("007"), as_text([1, 2])
    ('sgd', '"no"', '"007"', '[1, 2]')
    """
    plain = isinstance(value, str) and re.fullmatch(r"[A-Za-z_][\w./+-]*", value)
    return value if plain and value_of(f"it={value}") == value else json.dumps(value, ensure_ascii=False)


def _entries(run: RunDirectory) -> dict[str, dict[str, Any]]:
    if not run.overrides.exists():
        return {}
    found: dict[str, dict[str, Any]] = {}
    for name, entry in read_overrides(run.overrides).items():
        key = current_name(name)
        for leaf in one_by_one([f"{key}={entry['value']}"]):  # earlier versions kept mappings whole
            below = setting_of(leaf).removeprefix(key).split(".")[1:]
            found[setting_of(leaf)] = {
                "value": leaf.partition("=")[2],
                "instead_of": _below(entry["instead_of"], below),
            }
    return found


def read_overrides(path: Path) -> dict[str, dict[str, Any]]:
    """The entries of an overrides.json: `value` as it was given, and `instead_of`, what subspace.yaml had.

    Raises:
        InputError: there is none.
        StaleArtifactError: it is not as this program writes it.
    """
    return read_document(path, KeptOverrides, "correct it, or remove it and give the settings again")


def with_whole_paths(given: Sequence[str]) -> list[str]:
    """The same with every path from the root on, as the next command may be given in another folder.

    >>> with_whole_paths(["rounds=3", "data.cleaned=null", "data.cleaned=/tmp/../keep.parquet"])
    ['rounds=3', 'data.cleaned=null', 'data.cleaned=/keep.parquet']
    >>> with_whole_paths(["manifest=/tmp/../photos.parquet", "model=checkpoint:/tmp/../best", "model=iresnet50"])
    ['manifest=/photos.parquet', 'model=checkpoint:/best', 'model=iresnet50']
    >>> with_whole_paths(["train.loss=searched:/tmp/../curve.json + batch_ohnm", "data={cleaned: /tmp/../keep.parquet}"])
    ['train.loss=searched:/curve.json + batch_ohnm', 'data.cleaned="/keep.parquet"']
    """
    whole: list[str] = []
    for override in given:
        above, _, value = override.partition("=")
        if value.startswith("{") and any(path.startswith(f"{current_name(above)}.") for path in PATHS):
            check_overrides([override])
            whole += map(_from_root, one_by_one([override]))
        else:
            whole.append(_from_root(override))
    return whole


def _from_root(override: str) -> str:
    key, _, value = override.partition("=")
    name, quoted = current_name(key), value.startswith(("'", '"'))
    if name not in PATHS:
        return override
    if quoted:
        check_overrides([override])
    text = value_of(override) if quoted else value
    if not isinstance(text, str) or not text or text == "null" or text[0] in "$~":
        return override
    if name in FILES:
        whole = text if is_url(text) else file_from_root(text)
    elif name in NETWORKS:
        whole = network_from_root(text)
    else:
        whole = " + ".join(map(_term_from_root, terms_of(text))) if SEARCHED_PREFIX in text else text
    return override if whole == text else f"{key}={as_text(whole) if quoted else whole}"


def file_from_root(file: str) -> str:
    """A file by its absolute path, a part of it named behind `#`; `pretrained` as it is."""
    if file == PRETRAINED:
        return file
    path, part = path_and_part(file)
    return str(Path(path).resolve()) + (f"#{part}" if part else "")


def network_from_root(spec: str) -> str:
    """The spec of a network with its file or folder by its absolute path, so that the run works from anywhere."""
    if file_of(spec) is not None:
        kind, _, file = spec.partition(":")
        return f"{kind}:{file_from_root(file)}"
    if not spec.startswith(CHECKPOINT_PREFIX):
        return spec
    return f"{CHECKPOINT_PREFIX}{Path(spec.removeprefix(CHECKPOINT_PREFIX)).resolve()}"


def _term_from_root(term: str) -> str:
    before, prefix, path = term.partition(SEARCHED_PREFIX)
    return f"{before}{prefix}{Path(path.strip()).resolve()}" if prefix else term


def taken_back(given: Sequence[str]) -> list[str]:
    """The words among `given` that take a setting back.

    Raises:
        InputError: no setting is called so, or it has a value.

    Example:
        >>> taken_back(["rounds=3", "~train.optimizer.lr"])
        ['~train.optimizer.lr']
    """
    words = [word for word in given if word.startswith(TAKE_BACK)]
    for word in words:
        if not is_setting(setting_of(word)) or "=" in word:
            raise InputError(
                f"{word} takes no setting back: write {TAKE_BACK} and its name, as in ~train.optimizer.lr"
            )
    return words


def not_kept(run: RunDirectory, given: Sequence[str]) -> list[str]:
    """Words that take a setting back, where none is kept."""
    kept = [setting_of(override) for override in kept_overrides(run)]
    return [word for word in taken_back(given) if not _overlaps(setting_of(word), kept)]


def setting_of(override: str) -> str:
    """Which setting an override gives or takes back, by its name of today.

    >>> setting_of("train.loss=oim"), setting_of("~plan.steps")
    ('train.loss', 'plan.steps')
    """
    return current_name(override.removeprefix(TAKE_BACK).split("=", 1)[0])


def _overlaps(key: str, others: Iterable[str]) -> bool:
    """Whether one of the others is this key, one above it or one below."""
    return any(f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}.") for other in others)


def _settings(run: RunDirectory) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SubspaceWarning)  # said where the settings are read for use
        return with_new_names(read_settings(run.config))


def _in_file(settings: Any, key: str) -> Any:
    # as it is written: nothing is looked up for a comparison
    return _below(OmegaConf.to_container(settings), key.split("."))


def _below(value: Any, parts: Sequence[str]) -> Any:
    for part in parts:
        value = value.get(part) if isinstance(value, dict) else None
    return value
