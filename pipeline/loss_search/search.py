"""`subspace search-loss`: what it needs, its epochs one by one, the found curve, the figures and the plot.

An epoch trains all candidates from the same weights on the same batches of the run's own plan. What a killed search finished
is on disk: candidate by candidate within an epoch, then epoch by epoch.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...mining.artifacts import remove, write_json, write_text
from ...mining.fingerprints import CODE_VERSION
from ...mining.local_paths import in_shell
from ...train.loss_search.curve import SEARCHED_PREFIX
from ..console import about, aligned, amount, counted, duration, percent
from ..learning_rate.search import check_judges, prepare
from ..stage_folder import CHECKPOINT, LOSS_SEARCH
from ..stages.context import Context
from ..stages.evaluate import validate_fields
from ..stages.graph import row
from ..stages.stage import flat_fields
from .record import Candidate, Epoch, SearchRecord
from .request import Request

if TYPE_CHECKING:
    from .epoch import Search

OTHERS = ("train.loss", "train.loss_args", "train.optimizer", "recluster", "rounds", "plan.steps")
"""Fields of a training that a search replaces, or takes its share of."""


@dataclass(frozen=True)
class Found:
    """What a search found, and where it lies."""

    curve: Path
    plot: Path
    network: Path
    """Checkpoint of the best candidate of the last epoch."""
    metric: str
    epochs: list[Epoch]
    means: list[list[float]]
    """The Gaussian's mean, before every epoch and after the last."""
    new: list[Candidate]
    """What this command trained."""

    def to_json(self) -> dict[str, Any]:
        """For a program."""
        return {
            "curve": str(self.curve),
            "metric": self.metric,
            "reward": self.epochs[-1].candidates[self.epochs[-1].best].reward,
            "epochs": [asdict(epoch) for epoch in self.epochs],
            "means": self.means,
            "new_candidates": len(self.new),
            "seconds": round(sum(candidate.seconds for candidate in self.new), 3),
            "files": [str(self.curve), str(self.plot), str(self.network)],
        }


def search_loss(
    context: Context, request: Request, arguments: list[str], shard: tuple[int, int] | None
) -> Found | None:
    """Search on the run's own plan; the stages before its training are done first where they are not.

    Args:
        context: in round 0.
        arguments: of the command, for the processes that it starts.
        shard: which of how many; this process is one that the search has started.

    Returns:
        None in a dry run, and of a shard.

    Raises:
        InputError: no validation identities, too few batches in the plan, or an epoch of which no candidate came through.
        StaleArtifactError: there is a search with other settings, and not called with `--force`.
    """
    check_judges(context, "losses")
    once = replace(context, options=replace(context.options, force=False))  # --force is for the search alone
    if shard is None and not prepare(once, "search-loss"):
        context.say("then the search; what it costs is known once those are done")
        return None
    from ...train.data.plan_reader import Plan
    from .epoch import Search

    plan, run = Plan(context.folder.plan), context.run
    steps = request.steps_of(len(plan), context.config.train.accumulate)
    fields, options = search_fields(context, request, steps), context.options
    folder = run.path / LOSS_SEARCH
    if options.force and not options.dry_run:
        remove(folder)
    file = folder / "search.json"
    stale = options.force and options.dry_run
    again = f"subspace {' '.join(map(in_shell, [*arguments, *options.overrides]))} --force"
    record = SearchRecord(file, fields, again) if stale else SearchRecord.open(file, fields, again)
    search = Search(context, request, steps, record)
    if shard is not None:
        search.train_shard(*shard)
        return None
    _announce(search)
    if options.dry_run:
        return None
    options.on_work()
    new = _search(search, arguments)
    return _write(search, new)


def search_fields(context: Context, request: Request, steps: int) -> dict[str, Any]:
    """All that a search's results depend on."""
    from ..learning_rate.trial_training import shortened

    config = context.config
    trained = row("train").stage(context).fields
    optimizer = shortened(config.train.optimizer, request.epochs * steps, config.total_steps)
    return {
        **{
            key: trained[key]
            for key in trained
            if not f"{key}.".startswith(tuple(f"{each}." for each in OTHERS))
        },
        **flat_fields("train.collapse", config.train.collapse.model_dump()),
        **validate_fields(context),
        "metric": config.early_stop.metric,
        **request.fields(steps),
        # Last: its schedule follows the number of steps.
        **flat_fields("train.optimizer", optimizer.model_dump()),
        "code": CODE_VERSION,
    }


def _announce(search: Search) -> None:
    """Say what is left to try and what it will cost."""
    from ..learning_rate.cost import examining_seconds
    from ..stages.round_training import round_work
    from .candidate import settings_of_search

    context, request, done = search.context, search.request, len(search.record.epochs)
    say, left = context.say, request.epochs - done
    if not left:
        say(f"search-loss: all {counted(request.epochs, 'epoch')} are done already")
        return
    config = settings_of_search(context.config, request.epochs * search.steps, "softmax")
    work = round_work(replace(context, config=config), search.steps)
    examining, side_by_side = examining_seconds(context), min(context.options.processes, request.candidates)
    turns = -(-request.candidates // side_by_side)
    # On a CPU processes share the cores that one would have.
    together = turns if work.loaded.device.type == "cuda" else request.candidates
    seconds = left * together * (work.seconds + examining)
    disk = (request.candidates + 1) * 12 * work.weights
    space = request.space
    say(
        f"search-loss: {space.name}, {counted(space.size, 'number')}, mean from {space.in_words(search.mean())}; "
        f"{counted(left, 'epoch')} of {counted(request.candidates, 'candidate')} of {counted(search.steps, 'step')}"
        f"{'' if request.learns else ', drawn at random, nothing is learnt'}"
    )
    say(
        f"search-loss: {left * request.candidates * search.steps:,} steps, {about(seconds)}{work.loaded.slow_decoding}, each "
        f"candidate examined on the validation identities ({about(examining)}); {amount(side_by_side * work.memory)} of "
        f"memory, {amount(disk)} of disk"
    )
    if context.options.dry_run:
        say("dry run: nothing was tried")


def _search(search: Search, arguments: list[str]) -> list[Candidate]:
    """Do the epochs that are left; return what was trained for it."""
    context, request, record = search.context, search.request, search.record
    total, before = request.epochs * request.candidates, len(record.epochs) * request.candidates
    new: list[Candidate] = []
    with context.options.console.progress("search-loss", total, "candidates", before) as progress:
        while len(record.epochs) < request.epochs:
            search.sweep()
            there = {each.folder for each in search.candidacies() if each.read() is not None}
            candidates = search.train_epoch(arguments, progress)
            new += [
                done
                for each, done in zip(search.candidacies(), candidates, strict=True)
                if each.folder not in there
            ]
            record.add(candidates)
            context.say(f"search-loss: {_epoch_in_words(search, len(record.epochs))}")
    search.sweep()
    return new


def _write(search: Search, new: list[Candidate]) -> Found:
    """Write curve and plot, and say what came of it."""
    from .plot import draw

    context, request, epochs = search.context, search.request, search.record.epochs
    say, metric = context.say, context.config.early_stop.metric
    means = [search.mean(number) for number in range(len(epochs) + 1)]
    best = epochs[-1].candidates[epochs[-1].best]
    theta = means[-1] if request.learns else best.theta
    curve, where, plot = request.space.curve(theta), search.folder / "curve.json", search.folder / "curve.svg"
    network = search.best_of(len(epochs) - 1) / CHECKPOINT
    write_json(where, curve.to_json(theta=list(theta), search=dict(request.fields(search.steps))))
    title = f"{context.run.path.resolve().name}: {request.space.name}, {request.space.in_words(theta)}"
    write_text(plot, draw(curve, epochs, metric, title))
    context.options.console.say_lines(f"\n{epochs_table(search)}\n")
    say(
        f"found: {request.space.in_words(theta)}"
        + ("" if request.learns else ", the best draw of the last epoch")
    )
    say(f"best network: {metric} {percent(best.reward or 0.0, 1)} on validation, {network}")
    took = sum(candidate.seconds for candidate in new)
    say(f"cost: {counted(len(new), 'candidate')}, {duration(took)}" if new else "cost: nothing, all was done")
    say(f"curve: {where}, plot: {plot}")
    return Found(where, plot, network, metric, epochs, means, new)


def epochs_table(search: Search) -> str:
    """The epochs down, their candidates side by side with their rewards, and where the mean is after each."""
    count = search.request.candidates
    rows = [
        ["epoch", *(f"c{number}" for number in range(1, count + 1)), "mean", "the Gaussian's mean after it"]
    ]
    for number, epoch in enumerate(search.record.epochs, 1):
        cells = [
            each.state
            if each.reward is None
            else f"{100 * each.reward:.1f}{'*' if place == epoch.best else ' '}"
            for place, each in enumerate(epoch.candidates)
        ]
        rewards = [each.reward for each in epoch.candidates if each.reward is not None]
        mean = f"{100 * sum(rewards) / len(rewards):.1f}"
        rows.append([str(number), *cells, mean, search.request.space.in_words(search.mean(number))])
    return aligned(rows, text=(count + 2,))


def _epoch_in_words(search: Search, number: int) -> str:
    """`epoch 3 of 10: best of 4 candidates 71.2 %, ...`."""
    epoch, request = search.record.epochs[number - 1], search.request
    failed = sum(each.reward is None for each in epoch.candidates)
    best = percent(epoch.candidates[epoch.best].reward or 0.0, 1)
    return (
        f"epoch {number} of {request.epochs}: best of {counted(request.candidates, 'candidate')} {best}"
        f"{f', {failed} failed' if failed else ''}; mean {request.space.in_words(search.mean())}"
    )


def setting_of(curve: Path) -> str:
    """The setting that trains with a curve.

    >>> setting_of(Path("runs/photos/search-loss/curve.json"))
    'train.loss=searched:runs/photos/search-loss/curve.json'
    """
    return f"train.loss={SEARCHED_PREFIX}{curve}"
