"""All candidates of an epoch: drawn, trained one after another or in processes, and read again where they are done."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...mining.artifacts import remove
from ...mining.errors import InputError
from ...mining.randomness import derived_seed
from ...train.loss_search.distribution import draw, mean_after
from ..child_processes import Child, run_children, threads_each
from ..console import Progress
from ..stage_folder import CHECKPOINT, LOSS_SEARCH
from ..stages.context import Context
from .candidate import Candidacy, train_candidate
from .record import Candidate, SearchRecord
from .request import Request

EPOCH, CANDIDATE = "epoch-", "candidate-"


@dataclass(frozen=True)
class Search:
    """A search at the epoch that comes next."""

    context: Context
    request: Request
    steps: int
    """In an epoch."""
    record: SearchRecord

    @property
    def folder(self) -> Path:
        """RUN/search-loss."""
        return self.context.run.path / LOSS_SEARCH

    def mean(self, epoch: int | None = None) -> list[float]:
        """The Gaussian's mean after so many epochs; None: after all that are finished."""
        request, outcomes = self.request, [each.outcome for each in self.record.epochs[:epoch]]
        eta = request.eta if request.learns else 0.0
        return mean_after(request.space.start, outcomes, request.sigma, eta).tolist()

    def best_of(self, epoch: int) -> Path:
        """The folder of the best candidate of a finished epoch."""
        return self._candidate(epoch, self.record.epochs[epoch].best)

    def _candidate(self, epoch: int, number: int) -> Path:
        return self.folder / f"{EPOCH}{epoch + 1:03d}" / f"{CANDIDATE}{number + 1}"

    def candidacies(self) -> list[Candidacy]:
        """The candidates of the epoch that comes next: a function of the record."""
        epoch, request = len(self.record.epochs), self.request
        seed, mean = derived_seed(self.context.config.seed, "loss search"), np.array(self.mean())
        begin = self.best_of(epoch - 1) / CHECKPOINT if epoch else None
        return [
            Candidacy(
                self._candidate(epoch, number),
                request.space,
                draw(mean, request.sigma, seed, epoch, number),
                begin,
                range(epoch * self.steps, (epoch + 1) * self.steps),
                request.epochs * self.steps,
                self.record.fingerprint,
                self.record.again,
            )
            for number in range(request.candidates)
        ]

    def sweep(self) -> None:
        """Remove the folders that nothing begins with any more, and half-trained candidates."""
        done = len(self.record.epochs)
        kept = {self.best_of(done - 1)} if done else set()
        for epoch in self.folder.glob(f"{EPOCH}*"):
            for folder in epoch.iterdir():
                of_next = epoch.name == f"{EPOCH}{done + 1:03d}" and (folder / "result.json").exists()
                if folder not in kept and not (of_next and done < self.request.epochs):
                    remove(folder)
            if not any(epoch.iterdir()):
                epoch.rmdir()

    def train_shard(self, shard: int, count: int) -> None:
        """Train every `count`-th missing candidate of the next epoch, from this one; for a process beside others."""
        for candidacy in self.candidacies()[shard::count]:
            if candidacy.read() is None:
                train_candidate(self.context, candidacy)

    def train_epoch(self, arguments: Sequence[str], progress: Progress) -> list[Candidate]:
        """Train the missing candidates of the next epoch, and return all of them.

        Args:
            arguments: of the command that does a shard of it.
        """
        candidacies, options = self.candidacies(), self.context.options
        found = [candidacy.read() for candidacy in candidacies]
        progress.update(sum(done is not None for done in found))
        if options.processes > 1:
            self._in_processes(arguments, candidacies, progress)
        results: list[Candidate] = []
        for candidacy, done in zip(candidacies, found, strict=True):
            if done is None:
                done = candidacy.read() if options.processes > 1 else train_candidate(self.context, candidacy)
                if options.processes == 1:
                    progress.update(1)
            if done is None:
                raise InputError(
                    f"{candidacy.folder} is missing though all processes have ended well; run the same command again"
                )
            results.append(done)
        return results

    def _in_processes(
        self, arguments: Sequence[str], candidacies: Sequence[Candidacy], progress: Progress
    ) -> None:
        from ..stages.extraction_processes import devices_of

        options, left = self.context.options, [each for each in candidacies if each.read() is None]
        count = min(options.processes, len(candidacies))
        shards = [shard for shard in range(count) if any(each in left for each in candidacies[shard::count])]
        devices = devices_of(options.device, count)
        children = [
            Child(
                [
                    *arguments, "--shard", str(shard), "--num-shards", str(count),
                    f"--device={devices[shard]}", "--quiet", *options.overrides,
                ],
                threads_each(count),
                {"LOCAL_WORLD_SIZE": str(count)},
            )
            for shard in shards
        ]  # fmt: skip
        looked = time.monotonic()

        def look() -> None:
            nonlocal left, looked
            if time.monotonic() - looked >= 0.5:
                still = [each for each in left if not each.result.exists()]
                progress.update(len(left) - len(still))
                left, looked = still, time.monotonic()

        if children:
            run_children(children, options, look, grace=0)
        progress.update(len(left))
