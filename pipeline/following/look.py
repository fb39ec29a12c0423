"""One look at a run: its stages by their markers, jobs by their scheduler, and what is at work."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace

from ...mining.errors import InputError, SubspaceError
from ..schedulers.job_states import read_job_states, with_jobs
from ..schedulers.submission import Submission, submitted_with
from ..stages.context import Context
from ..status import StageStatus, as_json, stage_statuses
from .at_work import AtWork, with_expected, work_now
from .run_text import columns_here, fitted, now_in_words, status_text
from .watch import Seen, watch_run


@dataclass(frozen=True)
class Look:
    """A run at one moment."""

    statuses: list[StageStatus]
    now: AtWork | None
    doubts: list[str]
    """What is not known, and why: what is queued or running, whether the manifest is that of the stages."""
    jobs_live: bool | None
    """Whether jobs are queued or running; None where their scheduler does not say, which is the last doubt."""

    @classmethod
    def at(cls, context: Context) -> Look:
        """Look at the run of a command."""
        now, submission = work_now(context), Submission.latest(context.run)
        doubts = (
            [f"stages are compared with the manifest that they were made of: {context.lost}"]
            if context.lost
            else []
        )
        statuses: list[StageStatus] | None = None
        jobs_live: bool | None = False
        if submission is not None:
            try:
                found, states = read_job_states(context, submission)
                statuses, jobs_live = with_jobs(found, states), states.are_live
            except InputError as error:  # the markers say what is done, whether the scheduler answers or not
                jobs_live = None
                doubts.append(f"what is queued or running is not known: {error}")
        if statuses is None:
            statuses = stage_statuses(context)
        if now is not None and now.stage is not None:
            statuses = [_running(one, now) for one in statuses]
        return cls(with_expected(statuses), now, doubts, jobs_live)

    @property
    def is_over(self) -> bool:
        """Whether nothing is at work, and nothing queued; where that is not known, whether no stage is left."""
        if self.now is not None or self.jobs_live or any(one.state == "running" for one in self.statuses):
            return False
        return self.jobs_live is False or all(one.state in ("done", "unchecked") for one in self.statuses)

    def text(self, context: Context) -> str:
        """For a person."""
        width = columns_here()
        text = status_text(context.run, self.statuses, self.now, width)
        return "\n".join([text, *fitted(self.doubts, width)])

    def line(self) -> str:
        """What runs now; or how many stages are done."""
        if self.now is not None:
            return fitted([now_in_words(self.statuses, self.now)], 1000)[0]
        done = sum(one.state == "done" for one in self.statuses)
        unknown = f"; {self.doubts[-1]}" if self.jobs_live is None else ""
        return fitted([f"{done} of {len(self.statuses)} stages are done; waiting{unknown}"], 1000)[0]


def show_status(context: Context, every: float | None, *, json: bool) -> None:
    """Print the status of a run, once or every so many seconds until the run ends, by the settings that it has then."""
    console = context.options.console
    if every is not None and not json:
        seen = _settings_of(context)

        def look() -> Seen:
            nonlocal context, seen
            broken: list[str] = []
            if (now := _settings_of(context)) != seen:  # of a command that was given others, or by hand
                given = context.options.overrides
                try:
                    words = [*submitted_with(context.run, given), *given]
                    context = Context.open(context.run.path, words, context.options, needs_manifest=False)
                    seen = now
                except SubspaceError as error:  # an editor may have saved half of it
                    broken = [f"this is by the settings from before they were changed: {error}"]
            found = Look.at(context)
            found = replace(found, doubts=[*broken, *found.doubts])
            return Seen(found.text(context), "; ".join([found.line(), *broken]), found.is_over)

        return watch_run(look, every)
    found = Look.at(context)
    console.result(as_json(found.statuses, found.now.to_json() if found.now else None))
    if not json:
        console.say_lines(found.text(context))
    else:
        for doubt in found.doubts:
            console.say(doubt)
    return None


def _settings_of(context: Context) -> list[bytes]:
    """The files that say with which settings commands work here, as they are now."""
    files = (context.run.config, context.run.overrides)
    found: list[bytes] = []
    for file in files:
        with suppress(FileNotFoundError):
            found.append(file.read_bytes())
    return found


def _running(one: StageStatus, now: AtWork) -> StageStatus:
    is_it = f"{one.folder}/{one.stage}" == now.stage
    return replace(one, state="running") if is_it and one.state != "done" else one
