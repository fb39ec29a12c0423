"""What `subspace init` finds out about a network: its input, its head, and whether it gives embeddings at all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import nn

from ...mining.errors import InputError
from ...train.networks.backbone import Backbone, check_embedding
from ...train.networks.frozen import FrozenNetwork
from ...train.networks.head import head_parameters
from ...train.optimizer_config import OptimizerConfig
from ..configuration.config import RunConfig


@dataclass(frozen=True)
class NetworkFacts:
    """What a run has to know of its network."""

    model: str
    """As the settings have it."""
    spec: str
    """The network's own, never `checkpoint:`."""
    weights: int
    embedding_size: int
    input: dict[str, Any]
    """What its images become, as `ImageInput.to_json` has it."""
    input_in_words: str
    head: list[str]
    """Modules; empty where there is none."""
    head_weights: int
    training: str
    """How the head trains, in words."""
    remarks: list[str] = field(default_factory=list)
    """How the network came about: layers added, weights loaded."""
    warnings: list[str] = field(default_factory=list)
    frozen: bool = False
    """Whether nothing of it trains."""

    def lines(self) -> list[str]:
        """For a person."""
        name = self.model if self.model == self.spec else f"{self.model} ({self.spec})"
        head = f"{', '.join(self.head)}: {_counted(self.head_weights)}; " if self.head else ""
        return [
            f"network     {name}, {_counted(self.weights)}, embeddings of {self.embedding_size} numbers",
            f"input       every image is {self.input_in_words}",
            *(f"            {remark}" for remark in self.remarks),
            f"head        {head}{self.training}",
        ]


def examine_network(network: Backbone, config: RunConfig) -> NetworkFacts:
    """Look at a network as the run would use it; one image goes through it.

    Raises:
        InputError: it cannot embed an image of its own size, or the settings divide it and it has no usable head.
    """
    check_embedding(network)
    frozen = isinstance(network.body, FrozenNetwork)
    dividing = next((o for o in _optimizers(config) if divides(o)), None)
    head: frozenset[str] = frozenset()
    try:
        head = head_parameters(network, (dividing or config.train.optimizer).head)
    except InputError as error:
        if dividing is not None:
            raise InputError(f"{config.model}: {error}") from error
    names = [name for name, _ in network.named_parameters() if name in head]
    modules = list(dict.fromkeys(name.removeprefix("body.").rpartition(".")[0] or name for name in names))
    warnings = []
    if dividing is not None and dividing.head is None and (block := _block_around(network, head)):
        warnings.append(
            f"the last linear layer, {modules[0]}, is a part of {block} and perhaps no head; name the head's modules as "
            "train.optimizer.head=[...]"
        )
    return NetworkFacts(
        config.model,
        network.spec,
        weight_count(network),
        network.embedding_size,
        network.input.to_json(),
        network.input.in_words(),
        modules,
        sum(p.numel() for name, p in network.named_parameters() if name in head),
        "nothing of a frozen network trains" if frozen else _training_in_words(bool(head), dividing),
        list(network.remarks),
        warnings,
        frozen,
    )


def weight_count(network: Backbone) -> int:
    """Numbers that the network has learnt, those of a frozen one too."""
    if isinstance(network.body, FrozenNetwork):
        return network.body.weights
    return sum(p.numel() for p in network.parameters())


def divides(optimizer: OptimizerConfig) -> bool:
    """Whether these settings treat the head otherwise than what lies below it."""
    return optimizer.body_lr_factor != 1 or optimizer.head is not None or optimizer.unfreeze.active


def _optimizers(config: RunConfig) -> list[OptimizerConfig]:
    return [config.train.optimizer, *([config.pretrain.optimizer] if config.pretrain.steps else [])]


def _training_in_words(has_head: bool, dividing: OptimizerConfig | None) -> str:
    if not has_head:
        return "none found; none is needed, as all of the network trains at one rate"
    if dividing is None:
        return "it trains like the rest"
    rate = f"the rest trains at {dividing.body_lr_factor:g} of its rate"
    return f"{rate}, and after it" if dividing.unfreeze.active else rate


def _counted(weights: int) -> str:
    return f"{weights / 1e6:,.2f} million weights" if weights >= 10_000 else f"{weights:,} weights"


def _block_around(network: nn.Module, head: frozenset[str]) -> str | None:
    """The child of the network that holds the last linear layer and other layers too; None where it stands alone.

    A child that holds everything, such as a wrapped network, is looked into.
    """
    paths = [name.split(".") for name, _ in network.named_parameters()]
    depth = 0
    while len({tuple(path[: depth + 1]) for path in paths}) == 1:
        depth += 1
    first = next(name.split(".") for name, _ in network.named_parameters() if name in head)
    inside = [".".join(path) for path in paths if path[: depth + 1] == first[: depth + 1]]
    if all(name in head for name in inside):
        return None
    return ".".join(first[: depth + 1]).removeprefix("body.")
