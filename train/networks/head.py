"""Which parameters of a network are its head; what lies below is the body that came pretrained."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from ...mining.errors import InputError


def head_parameters(network: nn.Module, prefixes: Sequence[str] | None = None) -> frozenset[str]:
    """Names of the head's parameters, as `network.named_parameters()` has them.

    Without `prefixes` it is the last `nn.Linear` and all that the network defines after it. With them it is every
    parameter that is called so or lies in a module called so: `fc` takes `fc.weight` and `fc.bias`, not `fc2.weight`.
    A leading `body.`, which `Backbone` puts before the names of the user's module, may be left out.

    Raises:
        InputError: no linear layer, a prefix that names nothing, or a head without a trainable parameter.
    """
    parameters = dict(network.named_parameters())
    if prefixes is None:
        modules = list(network.named_modules())
        linear = [place for place, (_, module) in enumerate(modules) if isinstance(module, nn.Linear)]
        if not linear:
            raise InputError(
                f"the network has no linear layer to take for its head; name the head's modules as "
                f"optimizer.head=[...], out of {_top_level(network)}"
            )
        own = (
            f"{module_name}.{name}" if module_name else name
            for module_name, module in modules[linear[-1] :]
            for name, _ in module.named_parameters(recurse=False)
        )
        head = frozenset(own) & parameters.keys()
    else:
        for prefix in prefixes:
            if not any(_is_in(name, prefix) for name in parameters):
                raise InputError(
                    f"optimizer.head={','.join(prefixes)}: the network has no parameters in '{prefix}'; "
                    f"it has {_top_level(network)}"
                )
        head = frozenset(name for name in parameters if any(_is_in(name, prefix) for prefix in prefixes))
    if not any(parameters[name].requires_grad for name in head):
        raise InputError(
            "the head has no parameter that trains; name others as optimizer.head=[...], "
            f"out of {_top_level(network)}"
        )
    return head


def _is_in(name: str, prefix: str) -> bool:
    return any(name == start or name.startswith(f"{start}.") for start in (prefix, f"body.{prefix}"))


def _top_level(network: nn.Module) -> str:
    """The names to choose from."""
    names = (name.removeprefix("body.") for name, _ in network.named_parameters())
    return ", ".join(dict.fromkeys(name.partition(".")[0] for name in names)) or "nothing"
