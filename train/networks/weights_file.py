"""Published weights, out of a file into a network: names are matched, and what was done to them is said.

A file is a state dict, or holds one: PyTorch's own format, or safetensors. Nested mappings (`state_dict`, `model`) and
prefixes (`module.`, `backbone.`) are both words before a tensor's name; the words before most names that the network
has are left out. Only tensors are read: pickles that hold more are refused by torch.
"""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ...mining.errors import InputError
from .registry import path_and_part

WITHOUT_EFFECT = "num_batches_tracked"
"""Ends the names of batch norm's counters; older files do not have them, and no output depends on them."""
MOST_NAMED = 3


@dataclass(frozen=True)
class LoadedWeights:
    """What became of a file of weights."""

    file: str
    tensors: int
    """How many were loaded."""
    prefix: str
    """Left out before every name."""
    ignored: tuple[str, ...]
    """Names, as the file has them, that the network does not have."""
    others: tuple[str, ...] = ()
    """Prefixes of other networks in the file, where one stands without: that one was loaded."""

    def __str__(self) -> str:
        without = f", without '{self.prefix}' before their names" if self.prefix else ""
        ignored = f"; ignored {_named(self.ignored)}, which it does not have" if self.ignored else ""
        kept = " and ".join(f"{self.file}#{prefix}" for prefix in self.others)
        others = f"; left out other weights for it, {kept}" if kept else ""
        return f"{self.tensors:,} tensors of {self.file}{without}{ignored}{others}"


def load_weights(network: nn.Module, file: str) -> LoadedWeights:
    """Load the weights of a file into `network`, all of them.

    Args:
        network: the module whose names the file has; a body, not a `Backbone`.
        file: a path, or PATH#PREFIX where the file holds several networks. Of several that are not named the one whose
            names stand alone is loaded.

    Raises:
        InputError: no such file, something else in it, a name of the network that is missing, or another shape.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import torch
        >>> from subspace.train.networks.weights_file import load_weights
        >>> path = Path(tempfile.mkdtemp(), "trained.pth")
        >>> torch.save({"state_dict": {"module.weight": torch.ones(1, 2), "module.bias": torch.zeros(1)}}, path)
        >>> layer = torch.nn.Linear(2, 1)
        >>> loaded = load_weights(layer, str(path))
        >>> loaded.tensors, loaded.prefix, layer.weight.tolist()
        (2, 'state_dict.module.', [[1.0, 1.0]])
    """
    path, part = path_and_part(file)
    tensors = read_tensors(Path(path))
    own = network.state_dict()
    prefix, others = _prefix(tensors, set(own), path, part)
    given = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    missing = [name for name in own if name not in given and not name.endswith(WITHOUT_EFFECT)]
    if missing:
        raise InputError(
            f"{path} has no {_named(missing)}: it holds other weights than this network's; name the network "
            "that they are of"
        )
    for name, tensor in own.items():
        if name in given and given[name].shape != tensor.shape:
            raise InputError(
                f"{path}: {prefix}{name} has shape {list(given[name].shape)}, and the network {list(tensor.shape)}; "
                f"give the size that it was trained with (embedding_size, preprocess.size)"
            )
    network.load_state_dict({name: given.get(name, tensor) for name, tensor in own.items()})
    used = {f"{prefix}{name}" for name in own}
    left_out = tuple(f"{other}." for other in others)
    ignored = tuple(name for name in tensors if name not in used and not name.startswith(left_out))
    return LoadedWeights(path, len(own.keys() & given.keys()), prefix, ignored, others)


def has_all_of(network: nn.Module, file: str) -> bool:
    """Whether the file (see `load_weights`) has every name of the network, behind one prefix.

    Raises:
        InputError: no such file, or something else in it.
    """
    path, part = path_and_part(file)
    wanted = {name for name in network.state_dict() if not name.endswith(WITHOUT_EFFECT)}
    return max(_votes(read_tensors(Path(path)), wanted, part).values(), default=0) == len(wanted)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a file by name; words of nested mappings come before it, with a dot.

    Raises:
        InputError: no such file, damaged, or it holds more than tensors.
    """
    if not path.is_file():
        raise InputError(f"weights {path}: no such file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} holds more than tensors, or is no file of weights ({_first_line(error)}); nothing of it is run: "
            "save the state dict alone, torch.save(network.state_dict(), FILE), or as safetensors"
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, SafetensorError) as error:
        raise InputError(f"{path} is not a readable file of weights: {_first_line(error)}") from error
    found = dict(_flat(content, ""))
    if not found:
        raise InputError(f"{path} holds no tensors by name, but a {type(content).__name__}")
    return found


def prefixes(tensors: Mapping[str, Tensor], wanted: set[str]) -> Counter[str]:
    """How many of the wanted names follow each prefix."""
    votes: Counter[str] = Counter()
    for name in tensors:
        words = name.split(".")
        for place in range(len(words)):
            if ".".join(words[place:]) in wanted:
                votes["".join(f"{word}." for word in words[:place])] += 1
    return votes


def _votes(tensors: Mapping[str, Tensor], wanted: set[str], part: str) -> Counter[str]:
    """As `prefixes`, of those alone that begin with a part that is named."""
    votes = prefixes(tensors, wanted)
    if part:
        votes = Counter({p: n for p, n in votes.items() if f"{p}.".startswith(f"{part.rstrip('.')}.")})
    return votes


def _prefix(
    tensors: Mapping[str, Tensor], wanted: set[str], path: str, part: str
) -> tuple[str, tuple[str, ...]]:
    """What stands before the names; and before those of other networks, where the one that is meant has nothing there."""
    votes = _votes(tensors, wanted, part)
    if not votes:
        raise InputError(
            f"{path}{f'#{part}' * bool(part)} has none of the network's names: it has {_named(list(tensors))}, and the "
            f"network {_named(sorted(wanted))}"
        )
    most = max(votes.values())
    best = [prefix for prefix, count in votes.items() if count == most]
    if "" in best:
        return "", tuple(prefix.rstrip(".") for prefix in best if prefix)
    if len(best) > 1:
        names = " and ".join(f"'{prefix.rstrip('.')}'" for prefix in best)
        raise InputError(
            f"{path} holds several networks, {names}: name one of them, {path}#{best[0].rstrip('.')}"
        )
    return best[0], ()


def _flat(content: Any, before: str) -> list[tuple[str, Tensor]]:
    if isinstance(content, Tensor):
        return [(before.removesuffix("."), content)] if before else []
    if not isinstance(content, Mapping):
        return []
    return [entry for key, value in content.items() for entry in _flat(value, f"{before}{key}.")]


def _named(names: list[str] | tuple[str, ...]) -> str:
    shown = ", ".join(names[:MOST_NAMED])
    return shown if len(names) <= MOST_NAMED else f"{shown} and {len(names) - MOST_NAMED:,} more"


def _first_line(error: Exception) -> str:
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return text[:200].rstrip(" .;:")
