"""Templates: sets of images of one person, compared 1:1 by a list of pairs and 1:N with galleries, as IJB-B and IJB-C do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...mining.errors import InputError
from ...mining.evaluation.memory import kept_pairs
from ...mining.evaluation.open_set import DirAtFar
from ...mining.evaluation.registry import parse_metric
from ...mining.evaluation.templates import Templates, identify_templates, template_embeddings
from ...mining.evaluation.verification import verify_pairs
from ...mining.manifest import Manifest
from ...mining.randomness import derived_seed
from ...mining.remote import is_url
from ..console import counted
from ..estimates.metric_speed import replicate_seconds
from ..lists.listed_images import first_of_missing, listed_manifest, numbered, way_to_missing
from ..lists.template_lists import TemplateImages, TemplatePairs, read_template_list
from .evaluated_images import EvaluatedImages
from .outcome import Outcome, reasons
from .planned import Planned, cost_in_words
from .registry import MANY_FILE, metric_names
from .request import ProtocolRequest
from .template_curves import FARS, RANKS, curves_of, curves_table
from .verification import fars_in, verification_outcome

GALLERY, PROBE = "gallery", "probe"
"""What the name of a list for 1:N holds, as IJB's do."""
BYTES_OF_PAIR = 250
"""What the rates of a pair and their bootstrap take."""


@dataclass(frozen=True)
class TemplateLists:
    """The lists of a benchmark, and the images of all of them."""

    faces: Sequence[TemplateImages]
    pairs: Sequence[TemplatePairs]
    names: list[str]
    place: Sequence[np.ndarray]
    """The place in `names` of each row's image, int64[L] for each list in `faces`."""
    manifest: Manifest

    @classmethod
    def read(cls, paths: Sequence[Path], root: Path | None) -> TemplateLists:
        """Read them, and find out what each is by its columns.

        Raises:
            InputError: one of them is neither, or there are no images, or nothing to compare.
        """
        lists = [read_template_list(path) for path in paths]
        faces = [found for found in lists if isinstance(found, TemplateImages)]
        pairs = [found for found in lists if isinstance(found, TemplatePairs)]
        if not faces:
            raise InputError(
                f"--templates {paths[0]}: no list says which images make a template (template_id, filename, media_id); add it"
            )
        names, rows = numbered(*(face.names for face in faces))
        place = [row[face.image] for row, face in zip(rows, faces, strict=True)]
        base = root or faces[0].path.parent
        uris = [name if is_url(name) else str((base / name).absolute()) for name in names]
        return cls(faces, pairs, names, place, listed_manifest(faces[0].path, uris))

    @property
    def galleries(self) -> list[int]:
        """Places in `faces` of the lists whose name says gallery."""
        return [i for i, face in enumerate(self.faces) if GALLERY in face.path.name.lower()]

    @property
    def gallery_names(self) -> list[str]:
        """What the galleries are called in the results: their files without ending, or their paths where two are alike."""
        paths = [self.faces[i].path for i in self.galleries]
        alike = len({path.stem for path in paths}) < len(paths)
        return [str(path) if alike else path.stem for path in paths]

    @property
    def probes(self) -> list[int]:
        """Places in `faces` of the lists whose name says probe."""
        return [i for i, face in enumerate(self.faces) if PROBE in face.path.name.lower()]

    def embedded(self, which: Sequence[int], rows: np.ndarray, readable: np.ndarray) -> Templates:
        """The templates of some lists; images that could not be read are left out."""
        image = np.concatenate([self.place[i] for i in which])
        template = np.concatenate([self.faces[i].template_id for i in which])
        media, start = [], 0
        for i in which:
            media.append(self.faces[i].media_id + start)
            start += int(self.faces[i].media_id.max()) + 1
        seen = readable[image]
        return template_embeddings(rows, template[seen], np.concatenate(media)[seen], image=image[seen])

    def subjects(self, which: Sequence[int]) -> dict[int, str] | None:
        """The subject of each template of some lists; None where one does not say."""
        if any(self.faces[i].subject is None for i in which):
            return None
        found: dict[int, str] = {}
        for i in which:
            for template, who in self.faces[i].subjects().items():
                if found.setdefault(template, who) != who:
                    raise InputError(
                        f"{self.faces[i].path}: template {template} is of {who}, in another list of {found[template]}"
                    )
        return found


def compare_templates(images: EvaluatedImages, request: ProtocolRequest) -> Planned:
    """1:1 where a list of pairs is given, 1:N where lists called gallery and probe are."""
    lists = TemplateLists.read(request.templates, request.root)
    for found in (*lists.faces, *lists.pairs):
        images.options.console.say(found.in_words())
    names = _possible(lists, request)
    _refuse_missing(images, lists, request.root)
    bootstrap, seed = images.config.eval.bootstrap, derived_seed(images.config.seed, "eval bootstrap")
    words, seconds, memory = images.announce(lists.manifest)
    compared = sum(len(pairs.first) for pairs in lists.pairs)
    seconds += replicate_seconds(kept_pairs(compared), bootstrap)
    templates = len(np.unique(np.concatenate([face.template_id for face in lists.faces])))
    memory += BYTES_OF_PAIR * compared + 8 * templates * images.dimensions

    def work() -> Outcome:
        rows, readable = images.listed(lists.manifest, lists.names)
        left_out = int((~readable).sum())
        given = {"bootstrap": bootstrap, "seed": seed}
        outcome = Outcome({}, {"unreadable_images": left_out}, "")
        rates = [name for name in names if name.startswith(("TAR@FAR=", "EER"))]
        if rates:
            outcome = _one_to_one(lists, rows, readable, rates, request.threshold, given)
        ranks = [name for name in names if name not in rates]
        metrics, notes, parts = dict(outcome.metrics), outcome.notes, [outcome.basis] if outcome.basis else []
        counts = {**outcome.counts, "unreadable_images": left_out}
        if ranks:
            many = _one_to_many(lists, rows, readable, ranks, given)
            metrics |= many.metrics
            notes += many.notes
            parts.append(many.basis)
            outcome = replace(
                outcome,
                tables={**outcome.tables, **many.tables},
                curves={**outcome.curves, **many.curves},
            )
        if left_out:
            parts.append(f"{counted(left_out, 'unreadable image')} left out")
        return Outcome(metrics, counts, "; ".join(parts), notes, outcome.tables, outcome.curves)

    return Planned(
        f"{words}; {counted(templates, 'template')}, {counted(compared, 'pair')} of them; {cost_in_words(seconds, memory)}",
        work,
        {"metrics": names, "bootstrap": bootstrap, "templates": [str(path) for path in request.templates]},
    )


def _possible(lists: TemplateLists, request: ProtocolRequest) -> list[str]:
    """The metrics for which there are lists.

    Raises:
        InputError: there are none for a metric that was asked for, or none for any.
    """
    many = bool(lists.galleries and lists.probes)
    names = metric_names("templates", request)
    without = [name for name in names if not (lists.pairs if name.startswith(("TAR@FAR=", "EER")) else many)]
    if (request.metrics and without) or len(without) == len(names):
        raise InputError(
            f"--metrics {without[0]}: 1:1 needs a list of pairs (template_a, template_b, same), 1:N lists of images whose "
            "names say gallery and probe; give them with --templates"
        )
    return [name for name in names if name not in without]


def _refuse_missing(images: EvaluatedImages, lists: TemplateLists, root: Path | None) -> None:
    if not images.opens:
        return
    base = root or lists.faces[0].path.parent
    missing = first_of_missing([base / name for name in lists.names if not is_url(name)])
    if missing is not None:
        raise InputError(
            f"{missing[0]:,} of {len(lists.names):,} images of {lists.faces[0].path} are missing, the first: {missing[1]}; "
            f"{way_to_missing(missing[1], lists.names)}"
        )


def _one_to_one(
    lists: TemplateLists,
    rows: np.ndarray,
    readable: np.ndarray,
    names: list[str],
    threshold: float | None,
    given: Mapping[str, int],
) -> Outcome:
    everything = range(len(lists.faces))
    templates, subjects = lists.embedded(everything, rows, readable), lists.subjects(everything)
    first, second = (
        np.concatenate([getattr(pairs, side) for pairs in lists.pairs]) for side in ("first", "second")
    )
    same = np.concatenate([pairs.genuine(subjects) for pairs in lists.pairs])
    listed = np.unique(np.concatenate([face.template_id for face in lists.faces]))
    gone = np.setdiff1d(listed, templates.template_id)  # all their images are unreadable
    seen = ~(np.isin(first, gone) | np.isin(second, gone))
    first, second, same = first[seen], second[seen], same[seen]
    similarity = templates.similarity(first, second)
    identities = None
    if subjects is not None:
        _, codes = numbered([subjects[i] for i in first.tolist()], [subjects[i] for i in second.tolist()])
        identities = (codes[0], codes[1])
    found = verify_pairs(similarity, same, fars_in(names), identities=identities, **given)
    counts = {
        "templates": len(templates.template_id),
        "genuine_pairs": int(same.sum()),
        "impostor_pairs": int((~same).sum()),
        "pairs_left_out": int((~seen).sum()),
    }
    basis = (
        f"1:1 on {counts['templates']:,} templates, {counts['genuine_pairs']:,} genuine and "
        f"{counts['impostor_pairs']:,} impostor pairs"
    )
    if identities is None:
        basis += ", taken for independent in intervals"
    return verification_outcome(found, names, counts, basis, threshold)


def _one_to_many(
    lists: TemplateLists, rows: np.ndarray, readable: np.ndarray, names: list[str], given: Mapping[str, int]
) -> Outcome:
    asked = [parse_metric(name) for name in names]
    ks = [int(metric.number) for metric in asked if metric.family == "Rank-"]
    fars = [metric.number for metric in asked if metric.family == "DIR@FAR="]
    code: dict[str, int] = {}

    def side(which: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        templates = lists.embedded(which, rows, readable)
        for i in which:
            lists.faces[i].subjects()  # says why, where a list does not name its subjects
        known = lists.subjects(which) or {}
        who = [code.setdefault(known[i], len(code)) for i in templates.template_id.tolist()]
        return templates.rows, np.array(who, np.int64)

    galleries = {name: side([i]) for name, i in zip(lists.gallery_names, lists.galleries, strict=True)}
    probe, subject = side(lists.probes)
    found = identify_templates(probe, subject, galleries, ks=[*RANKS, *ks], fars=[*FARS, *fars], **given)
    several = len(found) > 1
    metrics = {
        f"{metric.name} {gallery}" if several else metric.name: metric.to_json()
        for gallery, measured in found.items()
        for metric in measured
        if metric.name in names
    }
    measured_names = {metric.name for measured in found.values() for metric in measured}
    for name, metric in zip(names, asked, strict=True):
        if name not in measured_names:
            why = "every probe is of a subject in the gallery, so there are no strangers"
            metrics[name] = DirAtFar(name, None, None, None, metric.number, None, why).to_json()
    sizes = ", ".join(f"{len(who):,} templates of {name}" for name, (_, who) in galleries.items())
    basis = f"1:N on {len(probe):,} probe templates and {sizes}"
    return Outcome(metrics, {}, basis, reasons(metrics), {MANY_FILE: curves_table(found)}, curves_of(found))
