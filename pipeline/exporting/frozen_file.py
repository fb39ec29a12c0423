"""Networks that came as a program in a file, `onnx:FILE` or `exported:FILE`, leave as the same file."""

from __future__ import annotations

from ...mining.errors import InputError
from ...train.networks.backbone import Backbone
from .request import FILES, ExportRequest


def frozen_contents(network: Backbone) -> bytes | None:
    """The bytes of the file that a frozen network came in, which its body keeps; None for one that can be trained."""
    contents = getattr(network.body, "contents", None)
    return contents if isinstance(contents, bytes) else None


def check_frozen(network: Backbone, request: ExportRequest) -> None:
    """Refuse to turn a frozen file into anything but itself.

    Raises:
        InputError: another format than its own, or int8.
    """
    prefix = network.spec.partition(":")[0]
    own = {"onnx": "onnx", "exported": "torch"}.get(prefix)
    if own is None:
        raise InputError(
            f"{network.spec} is frozen, and none of {', '.join(FILES)} has its format; use its file as it is"
        )
    if request.formats != (own,) or request.quantize:
        raise InputError(f"{network.spec} is frozen and can only be copied; export it --to {own}")
