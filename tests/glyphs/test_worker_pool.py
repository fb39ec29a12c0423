"""Work in processes: results in the order of the tasks, and one line where a process dies."""

from __future__ import annotations

import os

import pytest
from worker_pool import in_processes

from subspace.mining.errors import InputError


def test_results_are_in_the_order_of_the_tasks_whatever_was_begun_first() -> None:
    done: list[int] = []
    assert in_processes(abs, [-3, 2, -1], [2, 0, 1], 2, done.append) == [3, 2, 1]
    assert done == [1, 1, 1]


def test_a_process_that_dies_is_the_users_to_know() -> None:
    with pytest.raises(InputError, match="a process died"):
        in_processes(os._exit, [1], [0], 1, lambda _: None)
