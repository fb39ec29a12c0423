"""What the levels of a folder of images mean: splits, identities, cameras. What can be read in two ways is refused.

SPLIT/PERSON/1.jpg          every folder on the first level is a split, by its name or by --split-map
PERSON/1.jpg                none of them is
PERSON/CAMERA/1.jpg         refused, since cameras would be identities: --identity-level 1
"""

# pyarrow.compute makes its functions when it is imported, out of a type checker's sight.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from ...mining.errors import InputError
from .file_names import REID_SPLITS, split_and_role
from .splits import SPLITS

SKIP, IDENTITY = "skip", "identity"
"""What --split-map may say of a folder besides its split: leave it out, and it is an identity whatever its name."""
_BESIDE = {"gt_bbox", "gt_query"}
"""Folders of Market-1501 that hold its test images another time, and no images."""


class Part(NamedTuple):
    """A folder of the first level that is a split; the source itself where none is."""

    split: str
    role: str
    folder: str


def identity_levels(text: str) -> tuple[int, ...]:
    """Levels of folders, from 1 on, whose names make the identity: `1`, `1,2` for both; none for `all`, the whole path.

    Raises:
        InputError: anything else.

    Example:
        >>> identity_levels("1,2")
        (1, 2)
    """
    if text == "all":
        return ()
    levels = text.split(",")
    if not all(level.isdigit() and 0 < int(level) < 100 for level in levels) or len({*levels}) < len(levels):
        raise InputError(
            f"--identity-level {text}: give the level of the folders that name identities, 1 for the first below the "
            "source or split, several, as in 1,2, or all"
        )
    return tuple(map(int, levels))


def split_parts(
    folder: str,
    folders: Sequence[str],
    files: Sequence[str],
    meant: Mapping[str, str],
    holds_image: Callable[[str], bool],
) -> tuple[list[Part], list[str]]:
    """The folders of the first level that are splits, empty where they are identities; and what to say.

    Args:
        folder: what messages call the source.
        folders: names on its first level.
        files: names of the images that lie there.
        meant: what --split-map says of names.
        holds_image: whether an image lies in a folder, at any depth; asked of those beside splits that nothing explains.

    Raises:
        InputError: some are splits, and others are not explained; or a name of `meant` is not there.
    """
    if absent := sorted(meant.keys() - {*folders}):
        raise InputError(f"{folder} has no folder '{absent[0]}' of --split-map; it has {_some(folders)}")
    parts, skipped, people = [], [], []
    for name in folders:
        split, role = _meaning(name, meant)
        if split == SKIP:
            skipped.append(name)
        elif split != IDENTITY:
            parts.append(Part(split, role, name))
        else:
            people.append(name)
    notes = []
    if parts and not meant.keys() & _BESIDE and any(part.folder.lower() in REID_SPLITS for part in parts):
        skipped += [name for name in people if name.lower() in _BESIDE]
        people = [name for name in people if name.lower() not in _BESIDE]
    if parts:
        without = [name for name in people if name not in meant and not holds_image(name)]
        skipped += without
        people = [name for name in people if name not in without]
    if skipped:
        notes.append(f"folders left aside: {_some(skipped)}")
    splits = [part.folder for part in parts]
    if parts and people:
        unknown = [f"{name}={SKIP}" for name in sorted(people)[:3]]
        raise InputError(
            f"{folder} has the splits {_some(splits)} and other folders, {_some(people)}: say what each is, as in "
            f"--split-map {','.join(unknown)} (train, val, test, query, gallery, or skip to leave it out), or that the "
            f"first are people: --split-map {','.join(f'{name}={IDENTITY}' for name in sorted(splits)[:3])}"
        )
    if parts and files:
        raise InputError(
            f"{folder} has the splits {_some(splits)} and beside them {len(files):,} images, such as {min(files)}; move "
            "them into a split or away"
        )
    return parts, notes


def is_split(name: str) -> bool:
    """Whether a folder is called as a split.

    Example:
        >>> is_split("Validation"), is_split("query"), is_split("ann")
        (True, True, False)
    """
    return split_and_role(name)[0] in SPLITS


def _meaning(name: str, meant: Mapping[str, str]) -> tuple[str, str]:
    said = meant.get(name)
    if said is None:
        split, role = split_and_role(name)
        return (split, role) if split in SPLITS else (IDENTITY, "")
    return (said, "") if said in (SKIP, IDENTITY) else split_and_role(said)


def refuse_two_readings(folder: str, identity: pa.ChunkedArray, in_splits: bool) -> list[str]:
    """Refuse identities, paths of folders, that may well be cameras or splits of an identity; say where levels are several.

    Args:
        folder: what messages call the source.
        identity: paths below the source, or below its splits where it has any (`in_splits`).

    Raises:
        InputError: a folder of one name lies in several of the level above, any below the first level is called as a
            split, or one lies beside images of the folder that it is in.
    """
    deep = pc.match_substring(identity, "/")
    if not pc.any(deep).as_py():
        return []
    paths = identity.unique()
    known = {*paths.to_pylist()}
    seen: dict[str, str] = {}
    for path in sorted(known):
        above, _, name = path.rpartition("/")
        if not above:
            continue
        names = path.split("/")
        first = names[0]
        why = ""
        # those on the first level of the source have been asked about already
        called = [at for at, part in enumerate(names) if (at or in_splits) and is_split(part)]
        if called:
            why = f"{'/'.join(names[: called[0] + 1])} is called as a split"
        elif name in seen and seen[name] != above:
            why = f"{seen[name]}/{name} and {path} have one name, as cameras have that are no identities"
        elif above in known:
            why = f"{above} holds images, and so does {path}"
        if why:
            drawn = " (with --redraw-splits, where it is none)" if called else ""
            raise InputError(
                f"{folder} has folders in folders that may be read in several ways: {why}; say which level names "
                f"identities: --identity-level 1 for {first}{drawn}, {len(names)} for {name}, all for {path}; or "
                "--label-regex with groups identity, group and split"
            )
        seen[name] = above
    firsts = {path.partition("/")[0] for path in known}
    return [
        f"folders lie in folders: {len(known):,} identities are paths such as {max(known, key=lambda p: p.count('/'))}; "
        f"--identity-level 1 reads {len(firsts):,}, by the first folder"
    ]


def nested_split(below: str, part: str, levels: Collection[int] | None) -> str:
    """The first folder of a path that is called as a split; empty where none is, or each is on a level that names identities.

    Args:
        below: folders below the source, or below its split.
        part: the split; empty: there are none, and the first level has been asked about.
        levels: those that `--identity-level` names, none for all; None where it is not given.

    Example:
        >>> nested_split("faces/train", "", (1,)), nested_split("faces/train", "", (2,)), nested_split("a/b", "", None)
        ('faces/train', '', '')
    """
    names = below.split("/")
    for at, name in enumerate(names):
        explained = levels is not None and (not levels or at + 1 in levels)
        if (at or part) and is_split(name) and not explained:
            return "/".join(filter(None, (part, *names[: at + 1])))
    return ""


def nested_refusal(folder: str, nested: str) -> InputError:
    """The line where `nested_split` finds one, and other options say whose the images are."""
    return InputError(
        f"{folder}: {nested} is called as a split, and would count for nothing: read it (a group split in --label-regex, "
        "in the paths), or say that it is none (--redraw-splits)"
    )


def levels_in_words(identity: Collection[int]) -> str:
    """Which levels of folders name identities.

    Example:
        >>> levels_in_words([1]), levels_in_words([1, 2])
        ('folders of level 1', 'folders of levels 1 and 2')
    """
    several = "s" if len(identity) > 1 else ""
    return f"folders of level{several} {' and '.join(map(str, identity))}"


def _some(names: Collection[str], most: int = 4) -> str:
    """A few names in words."""
    shown = sorted(names)[:most]
    return ", ".join(shown) + (f" and {len(names) - most:,} more" if len(names) > most else "")


def distractors(rows: pa.Table, junk: tuple[str, ...]) -> Iterator[str]:
    """Market-1501 and DukeMTMC name no person 0: its images show many people, whom no query asks for."""
    counts = rows["identity"].filter(pc.match_substring_regex(rows["identity"], "^0+$")).value_counts()
    for found in counts.to_pylist():
        name = found["values"]
        if name not in junk:
            yield (
                f"identity {name} has {found['counts']:,} images: where it stands for distractors, as in Market-1501, "
                f"leave it out (--junk -1 --junk {name})"
            )
