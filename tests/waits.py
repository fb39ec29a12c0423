"""What makes the host wait for a GPU, counted on the CPU: each of these reads a tensor's value or copies it over."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

WAITING = {
    "aten::_local_scalar_dense",  # .item(), float(), if tensor:
    "aten::nonzero",  # boolean indexing too
    "aten::masked_select",
    "aten::_unique2",
    "aten::unique_dim",
    "aten::unique_consecutive",
    "aten::equal",
    "aten::is_nonzero",
}


class CountedWaits(TorchDispatchMode):
    """Lists the operators that wait, and `.cpu()` and `.tolist()`, which are no operators on a CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = func._schema.name
        masks = name in ("aten::index", "aten::index_put_", "aten::index_put") and any(
            place is not None and place.dtype == torch.bool for place in args[1]
        )
        if name in WAITING or masks:
            self.seen.append(name)
        return func(*args, **(kwargs or {}))

    def __enter__(self) -> CountedWaits:
        self._own = {name: getattr(torch.Tensor, name) for name in ("cpu", "tolist", "numpy")}
        for name, method in self._own.items():
            setattr(torch.Tensor, name, self._counted(name, method))
        return super().__enter__()

    def __exit__(self, *exception: Any) -> None:
        for name in self._own:
            delattr(torch.Tensor, name)
        for name, method in self._own.items():
            if getattr(torch.Tensor, name) is not method:
                setattr(torch.Tensor, name, method)
        super().__exit__(*exception)

    def _counted(self, name: str, method: Any) -> Any:
        def call(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            self.seen.append(name)
            return method(tensor, *args, **kwargs)

        return call
