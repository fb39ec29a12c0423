"""The command `subspace` (and `python -m subspace.pipeline`) from its first moment: Ctrl-C before the work is quiet."""

from __future__ import annotations

import gc
import signal
import sys
from typing import NoReturn


def main() -> None:
    """Import the command line and run it; Ctrl-C before a command looks for signals itself ends it without a traceback."""
    python_raises = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if python_raises:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    gc.disable()  # modules are no garbage, and to look for it among them takes a tenth of a light command
    from .cli import main as command_line

    gc.freeze()
    gc.enable()
    if python_raises:
        signal.signal(signal.SIGINT, _interrupt)
    try:
        command_line()
    except Exception:
        if not _interrupts:
            raise
        sys.exit(130)  # a library was importing its C parts, and raised something else


_interrupts: list[int] = []


def _interrupt(number: int, _frame: object) -> NoReturn:
    _interrupts.append(number)
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
