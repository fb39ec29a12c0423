"""Shares of a batch come together for a loss over the whole of it; test_training_processes.py has the rest."""

from __future__ import annotations

from pathlib import Path

import torch
from several_processes import run_in
from shared_batches import LABELS, slopes_of_a_share


def test_the_gradient_of_gathered_shares_is_that_of_one_process(tmp_path: Path) -> None:
    expected, _ = slopes_of_a_share()
    for slopes, labels in run_in(3, tmp_path, slopes_of_a_share):  # 1, 2 and 2 of five images
        torch.testing.assert_close(slopes, expected)
        assert labels.tolist() == LABELS.tolist()
