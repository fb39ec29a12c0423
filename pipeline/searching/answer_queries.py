"""What `subspace search` does: queries embedded, a threshold found, everything searched, and the answers shown."""

from __future__ import annotations

from pathlib import Path

from ...mining.artifacts import remove_leftovers
from ...mining.index.unknown_threshold import images_needed, threshold_for
from ..console import Console, counted
from .answers import Answer, search_index
from .answers_page import ANSWERS_PAGE, pictures_left_out, write_page
from .index_folder import IndexFolder, open_folder
from .network_of_index import network_of_queries
from .queries import QueryFiles, gather_queries
from .search_cost import cost_of_search
from .search_request import SearchRequest
from .write_answers import as_json, as_table, write_rows

MOST_SHOWN = 100
"""Queries in a terminal, where --out has all of them."""
FEW = 256
"""Queries that are answered sooner than it is said what they take."""


def answer_all(request: SearchRequest, console: Console) -> list[Answer]:
    """Answer all queries, and show or write the answers; in a dry run say what that would take.

    Raises:
        InputError: no such index or query.
        StaleArtifactError: the index is damaged, or of another network than the queries.
    """
    folder = open_folder(request.index)
    record = folder.record
    folder.gallery.check(request.top, T=request.T, stages=request.stages, list_images=request.list_images)
    if request.far is not None:
        images_needed(request.far, record.images)
    notes = [
        f"{request.index}: {counted(record.identities, 'identity', 'identities')}, {counted(record.images, 'image')} of "
        f"{record.dimensions} numbers; {_stages_in_words(request, folder)}"
    ]
    console.say(notes[0])
    found = QueryFiles.find(request.queries)
    opened = network_of_queries(request.network, record, request.index) if found.images else None
    if request.dry_run or len(found) > FEW:
        console.say(f"search: {cost_of_search(request, found, folder, opened)}")
    if request.dry_run:
        console.say("dry run: nothing was done")
        console.result({"index": str(request.index), "dry_run": True, "queries": len(found)})
        return []
    queries = gather_queries(found, folder, console, opened, request.device)
    threshold = request.threshold
    if request.far is not None:
        wanted = images_needed(request.far, record.images)
        with console.progress("threshold", wanted, "images") as progress, folder.whole():
            estimated = threshold_for(
                folder.gallery,
                request.far,
                T=request.T,
                stages=request.stages,
                exact=request.exact,
                track=progress.update,
            )
        threshold = estimated.threshold
        notes.append(estimated.in_words())
        console.say(notes[-1])
    elif threshold is not None:
        notes.append(f"threshold {threshold:g}, as given")
    with console.progress("search", len(queries.names), "queries") as progress:
        answers = search_index(
            folder,
            queries,
            request.top,
            T=request.T,
            stages=request.stages,
            list_images=request.list_images,
            exact=request.exact,
            threshold=threshold,
            track=progress.update,
        )
    if request.out is None or len(answers) <= MOST_SHOWN:
        console.say_lines(as_table(answers))
    if threshold is not None:
        unknown = sum(not answer.known for answer in answers)
        notes.append(f"{unknown:,} of {counted(len(answers), 'query', 'queries')} unknown")
        console.say(notes[-1])
    if request.out is not None:
        _write(answers, request.out, notes, console)
        console.say(f"{request.out}: {counted(len(answers), 'query', 'queries')}")
    console.result(
        {
            "index": str(request.index),
            "threshold": threshold,
            "far": request.far,
            "notes": notes[1:],
            "queries": as_json(answers),
            "left_out": queries.left_out,
        }
    )
    return answers


def _write(answers: list[Answer], out: Path, notes: list[str], console: Console) -> None:
    remove_leftovers(out)
    if out.suffix.lower() not in ANSWERS_PAGE.suffixes:
        write_rows(answers, out)
        return
    if left_out := pictures_left_out(answers):
        console.say(left_out)
        notes = [*notes, left_out]
    with console.progress("pictures", len(answers), "queries") as progress:
        write_page(answers, out, title="subspace search", notes=notes, track=progress.update)


def _stages_in_words(request: SearchRequest, folder: IndexFolder) -> str:
    near = folder.gallery.images if request.stages == "images" else folder.gallery.means
    what = "all" if near.index is None or request.exact else f"{near.effort.breadth:,} deep in the index of"
    if request.stages == "two":
        T = min(request.T, folder.record.identities)
        return f"{what} means, then the images of the nearest {T:,} identities"
    return f"{what} {request.stages}"
