"""`subspace-torchrun`: torchrun that ends as its processes did.

torchrun itself ends with 1 whatever happened, so that a scheduler could not tell a training that was stopped, and goes
on when it is started again, from one whose input is wrong.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterable
from types import FrameType

from ..mining.errors import StoppedEarly
from .terminal_text import printable_line


def main() -> None:
    """Run torchrun with the arguments of this process; end with the exit code that stands for all processes."""
    _hear_signals_before_the_processes_begin()
    from torch.distributed import DistError, run
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous import RendezvousError

    try:
        run.main(sys.argv[1:])
    except ChildFailedError as error:
        code = exit_code(failure.exitcode for failure in error.failures.values())
        _end(f"the processes of this node ended with {code}", code)
    except SignalException as error:
        _end(f"stopped by {error.sigval.name}", StoppedEarly.exit_code)
    except (RendezvousError, DistError, ConnectionError) as error:
        _end(f"the nodes did not meet: {error}", StoppedEarly.exit_code)


def exit_code(codes: Iterable[int]) -> int:
    """The one that says most: an error of its own, then a death by a signal (128 and its number), then 4.

    SIGTERM is no such death: torchrun sends it to the others once one has ended.
    """
    codes = list(codes)
    own = [code for code in codes if code > 0 and code != StoppedEarly.exit_code]
    killed = [128 - code for code in codes if code < 0 and code != -signal.SIGTERM]
    return [*own, *killed, StoppedEarly.exit_code][0]


def _hear_signals_before_the_processes_begin() -> None:
    """End at once on SIGTERM while the nodes wait for each other, which torchrun does deaf, for up to ten minutes.

    By a thread, since the first one is in native code meanwhile, and the first process of a pod ignores a signal that it
    has no handler for. Once there are processes torchrun has a handler of its own.
    """
    heard, told = os.pipe()
    os.set_blocking(told, False)
    signal.signal(signal.SIGTERM, _nothing)
    signal.set_wakeup_fd(told)

    def wait() -> None:
        os.read(heard, 1)
        if signal.getsignal(signal.SIGTERM) is _nothing:
            print("subspace-torchrun: stopped before all nodes had met", file=sys.stderr, flush=True)
            os._exit(StoppedEarly.exit_code)

    threading.Thread(target=wait, daemon=True).start()


def _nothing(number: int, frame: FrameType | None) -> None:
    """The thread does it."""


def _end(message: str, code: int) -> None:
    print(f"subspace-torchrun: {printable_line(' '.join(message.split()))}", file=sys.stderr)
    sys.exit(code)
