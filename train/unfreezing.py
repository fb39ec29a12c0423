"""Staged unfreezing: the head trains first, then the network below it, block by block from the last to the first.

Fresh weights above a pretrained network send it large and useless gradients; it is spared them until they have settled
(gradual unfreezing of ULMFiT, Howard and Ruder 2018, section 3.3).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from .networks.head import head_parameters
from .optimizer_config import UnfreezeConfig


def blocks_below(network: nn.Module, head: frozenset[str]) -> list[list[str]]:
    """Names of the parameters below the head, in blocks, from the first block to the last.

    A block is a child of the network, in the order of definition. A child without a matrix or kernel (a norm, an
    activation) belongs to the one before it; a child that holds all of them, such as a wrapped network or one
    `nn.Sequential`, is taken apart in its place. Parameters of the parent itself go with the first block.
    """
    below = {name: p for name, p in network.named_parameters() if name not in head}
    parent, path = network, ""
    while True:
        parts = {f"{path}{child}.": module for child, module in parent.named_children()}
        parts = {part: module for part, module in parts.items() if any(n.startswith(part) for n in below)}
        if len(parts) != 1 or not list(next(iter(parts.values())).children()):
            break
        path, parent = next(iter(parts.items()))
    blocks: list[list[str]] = [[]]
    for part in parts:
        names = [name for name in below if name.startswith(part)]
        has_matrix = any(below[name].ndim >= 2 for name in names)
        if has_matrix and any(below[name].ndim >= 2 for name in blocks[-1]):
            blocks.append(names)
        else:
            blocks[-1] += names
    blocks[0] = [name for name in below if not name.startswith(tuple(parts))] + blocks[0]
    return [block for block in blocks if block]


class Unfreezing:
    """Which parameters of a network train at which step, and the switch.

    Make it before anything is frozen: parameters that do not require gradients now never will, as the network itself
    has it so. The stage is a function of the step alone, so a resumed training is in the stage that it was in.

    Args:
        head: see `head_parameters`.

    Raises:
        InputError: stages are asked for, and the network has no such head.
    """

    def __init__(self, network: nn.Module, config: UnfreezeConfig, head: Sequence[str] | None = None) -> None:
        self.config = config
        self._network = network
        self._movable = [name for name, p in network.named_parameters() if p.requires_grad]
        self._blocks = blocks_below(network, head_parameters(network, head)) if config.active else []
        self._resting: list[nn.Module] = []
        self._frozen: frozenset[str] = frozenset()

    def frozen_at(self, step: int) -> frozenset[str]:
        """Names of the parameters whose turn has not come at `step` of the run."""
        stage = self.config.stage_at(step)
        waiting = [] if stage is None else self._blocks[: max(0, len(self._blocks) - stage)]
        return frozenset(name for block in waiting for name in block)

    def apply(self, step: int) -> bool:
        """Freeze and unfreeze for `step` of the run; return whether any parameter changed sides.

        Modules all of whose parameters wait are put in evaluation mode, also where the caller has just put the whole
        network in training mode: their batch norms neither see the batch nor learn from it. As no gradient is wanted
        below the lowest trainable parameter, the backward pass ends there.
        """
        if not self.config.active:
            return False
        frozen = self.frozen_at(step)
        changed = frozen != self._frozen
        if changed:
            self._switch(frozen)
        for module in self._resting:
            if module.training:
                module.eval()
        return changed

    def _switch(self, frozen: frozenset[str]) -> None:
        trainable = set(self._movable) - frozen
        for name, parameter in self._network.named_parameters():
            parameter.requires_grad_(name in trainable)
        for module in self._resting:
            module.train()
        waiting = {id(p) for name, p in self._network.named_parameters() if name in frozen}
        owned = [(module, {id(p) for p in module.parameters()}) for module in self._network.modules()]
        self._resting = [module for module, own in owned if own and own <= waiting]
        self._frozen = frozen
