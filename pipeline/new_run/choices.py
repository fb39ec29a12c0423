"""What `subspace init` sets otherwise than the defaults or the recipe, since the data or the network asks for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from ...mining.errors import InputError
from ...mining.local_paths import in_shell
from ...mining.manifest import Manifest
from ..configuration.config import RunConfig
from ..configuration.overrides import as_text
from ..learning_rate.families import SEARCHED_RATES, family_of


@dataclass(frozen=True)
class Choice:
    """One setting that is changed."""

    setting: str
    value: Any
    before: Any
    """What the default or the recipe is."""
    why: str
    by_recipe: bool = False
    """Whether `before` is the recipe's."""

    def __str__(self) -> str:
        before = f"{'recipe' if self.by_recipe else 'default'} {_shown(self.before)}"
        return f"{self.setting} = {_shown(self.value)} ({before}): {self.why}"


def choices_for(
    config: RunConfig,
    given: Set[str],
    by_recipe: Set[str],
    manifest: Manifest,
    own_spec: str,
    *,
    as_it_is: str | None,
) -> Iterator[Choice]:
    """Yield what has to change in `config`, each setting once.

    Args:
        config: defaults, recipe and overrides.
        given: settings that the overrides give; they stay as they are.
        by_recipe: settings that the recipe gives; they change only where the data has not enough identities.
        own_spec: the network's own spec, never `checkpoint:`.
        as_it_is: why the network needs no pretraining, if so.

    Raises:
        InputError: the manifest has nothing to train on.
    """
    chosen = {choice.setting: choice for choice in _choices_of_splits(config, given, manifest)}
    yield from chosen.values()
    train = chosen["data.train_splits"].value if "data.train_splits" in chosen else config.data.train_splits
    images = manifest.identities_in(train)
    identities = int((images.count > 1).sum()) if config.plan.singletons == "drop" else len(images)
    if identities < 2:
        raise InputError(
            f"{manifest.path} has fewer than two identities in its training splits ({', '.join(train)}; it has "
            f"{', '.join(manifest.splits)}): nothing to tell apart"
        )
    P, n, optimizer = config.plan.P, config.cluster.ids_per_subspace, config.train.optimizer
    if identities < P and "plan.P" not in given:
        yield Choice(
            "plan.P",
            identities,
            P,
            f"the manifest has {identities:,} training identities",
            by_recipe="plan.P" in by_recipe,
        )
        P = identities
    if n != "all" and "cluster.ids_per_subspace" not in given:
        fitting = min(n, max(P, identities // 10))
        if fitting < n:
            tenth = f"a tenth of the {identities:,} training identities"
            why = tenth if fitting == identities // 10 else f"a batch, since {tenth} is less"
            setting = "cluster.ids_per_subspace"
            yield Choice(setting, fitting, n, why, by_recipe=setting in by_recipe)
    given = given | by_recipe
    if as_it_is and config.pretrain.steps and "pretrain.steps" not in given:
        yield Choice("pretrain.steps", 0, config.pretrain.steps, as_it_is)
    rate = SEARCHED_RATES.get(family_of(own_spec) or "")
    if (
        rate is not None
        and optimizer.name == "adamw"
        and optimizer.lr != rate
        and "train.optimizer.lr" not in given
    ):
        why = f"searched with adamw for the {own_spec} network, see BENCHMARKS.md"
        yield Choice("train.optimizer.lr", rate, optimizer.lr, why)


def _choices_of_splits(config: RunConfig, given: Set[str], manifest: Manifest) -> Iterator[Choice]:
    there, data = manifest.splits, config.data
    train = tuple(name for name in data.train_splits if name in there)
    if "data.train_splits" in given:
        train = data.train_splits
    elif not train:
        setting = in_shell(f"data.train_splits=[{as_text(there[0]) if there else 'NAME'}]")
        raise InputError(
            f"{manifest.path} has no image in data.train_splits ({', '.join(data.train_splits)}): {splits_in_words(manifest, there)}; "
            f"name those to train on, as in {setting}, or ingest with --split-map"
        )
    pretrain = tuple(name for name in data.pretrain_splits if name in there) or train
    distractors = tuple(name for name in data.distractor_splits if name in there)
    for setting, value, before in (
        ("data.train_splits", train, data.train_splits),
        ("data.pretrain_splits", pretrain, data.pretrain_splits),
        ("data.distractor_splits", distractors, data.distractor_splits),
    ):
        missing = [name for name in before if name not in there]
        if value != before and setting not in given:
            yield Choice(
                setting, list(value), list(before), f"the manifest has no split {' and '.join(missing)}"
            )


def splits_in_words(manifest: Manifest, splits: Sequence[str]) -> str:
    """How many images each of `splits` has: "fold0 has 1,200 images, fold1 has 300"."""
    return ", ".join(f"{name} has {int(manifest.in_splits([name]).sum()):,} images" for name in splits)


def unused_splits(config: RunConfig, manifest: Manifest) -> list[str]:
    """Splits of the manifest that no setting names, so that nothing is done with them."""
    data = config.data
    used = {
        *data.train_splits,
        *data.pretrain_splits,
        *data.test_splits,
        *data.val_splits,
        *data.distractor_splits,
    }
    return [name for name in manifest.splits if name not in used]


def settings_of(choices: Mapping[str, Any]) -> dict[str, Any]:
    """`section.key` settings as nested mappings, as `subspace.yaml` has them."""
    nested: dict[str, Any] = {}
    for setting, value in choices.items():
        *sections, key = setting.split(".")
        place = nested
        for section in sections:
            place = place.setdefault(section, {})
        place[key] = value
    return nested


def keys_of(nested: Mapping[str, Any], prefix: str = "") -> set[str]:
    """`section.key` of everything in nested mappings, the sections themselves included."""
    found: set[str] = set()
    for key, value in nested.items():
        found.add(f"{prefix}{key}")
        if isinstance(value, Mapping):
            found |= keys_of(value, f"{prefix}{key}.")
    return found


def _shown(value: Any) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"[{', '.join(map(str, value))}]" if isinstance(value, list) else str(value)
