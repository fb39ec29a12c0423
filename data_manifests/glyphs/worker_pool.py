"""The same work on many tasks, in processes that share nothing and outlive nobody."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from subspace.mining.errors import InputError

Task = TypeVar("Task")
Result = TypeVar("Result")


def in_processes(
    work: Callable[[Task], Result],
    tasks: list[Task],
    order: list[int],
    processes: int,
    done: Callable[[int], None],
) -> list[Result]:
    """The results of `work` in the order of `tasks`, which are begun in `order`."""
    results: dict[int, Result] = {}
    # Spawned, so that the workers are alike on every system and hold none of this process's memory.
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), initializer=_obey_parent)
    try:
        futures = {pool.submit(work, tasks[i]): i for i in order}
        for future in as_completed(futures):
            results[futures[future]] = future.result()
            done(1)
    except BrokenProcessPool as error:
        likely = "out of memory, or a font that FreeType cannot stand"
        raise InputError(f"a process died ({likely}); the same command goes on, try --processes 1") from error
    finally:
        pool.shutdown(cancel_futures=True)
    return [results[i] for i in range(len(tasks))]


def _obey_parent() -> None:
    """Let this worker end with the process that started it, and not before.

    Ctrl-C reaches both, and is the parent's to answer; a killed parent would leave the worker waiting for ever.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def wait() -> None:
        if (parent := multiprocessing.parent_process()) is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
