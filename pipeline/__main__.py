"""The command `subspace` (and `python -m subspace.pipeline`) from its first moment: an interrupt while it imports is quiet."""

from __future__ import annotations

import signal


def main() -> None:
    """Import the command line and run it; Ctrl-C before that ends the process as it ends any other, without a traceback."""
    python_raises = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if python_raises:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from .cli import main as command_line

    if python_raises:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    command_line()


if __name__ == "__main__":
    main()
