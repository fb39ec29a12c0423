"""What a source's names of splits mean here; one that is not known is refused, never trained on by guess."""

# pyarrow.compute makes its functions when it is imported, out of a type checker's sight.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from ...mining.errors import InputError
from .file_names import split_and_role
from .layout import IDENTITY, SKIP
from .listing import with_roles
from .splits import SPLITS, canonical_split

_KNOWN = "train, training, pretrain, val, valid, validation, dev, test, testing, query, gallery"
_TEXT = pa.large_string()


def parse_split_map(text: str) -> dict[str, str]:
    """What `--split-map 0=train,1=val` says: any split may stand behind the sign, one of a project's own as it is.

    Raises:
        InputError: a part is not NAME=SPLIT, or has the name of another.

    Example:
        >>> parse_split_map("0=train, 1=Validation,2=noise")
        {'0': 'train', '1': 'val', '2': 'noise'}
    """
    found: dict[str, str] = {}
    for part in text.split(",") if text else ():
        name, sign, split = (piece.strip() for piece in part.partition("="))
        if not sign or not split or name in found:
            raise InputError(
                f"--split-map {text}: '{part.strip()}' is no NAME=SPLIT, or the second of its name; write 0=train,1=val,2=test"
            )
        low = split.lower()
        found[name] = low if low in (SKIP, IDENTITY) else canonical_split(split)
    return found


class SplitNames:
    """Makes the splits of rows those of a manifest, as the rows pass, and counts what was read as what.

    Names of re-identification sets (`query`, `gallery`) become test with the flags is_query and is_gallery, as they do
    in folders, unless the rows have flags of their own.

    Args:
        source: what messages call it.
        mapped: splits by the source's names for them, as in folders: `skip` leaves rows out; they go before custom.
        known: a project's own names of splits, which are there as they are.
        inline: images lie inside the source, one per row, so that rows to skip pass with that word for a split.
    """

    def __init__(
        self, source: str, mapped: Mapping[str, str], inline: bool = False, known: Collection[str] = ()
    ) -> None:
        self._source, self._mapped, self._inline, self._known = source, mapped, inline, {*SPLITS, *known}
        if people := sorted(name for name, split in mapped.items() if split == IDENTITY):
            raise InputError(
                f"--split-map {people[0]}={IDENTITY} is for folders; {source} has names of splits: say which split"
            )
        self._seen: Counter[str] = Counter()

    def tables(self, tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """All rows of the source, some at a time, as `canonical` makes them.

        Raises:
            InputError: a split has no meaning; the message has those of all rows.
        """
        passing = iter(tables)
        for rows in passing:
            if unknown := self._unknown(rows):
                raise self._refusal(unknown.union(*map(self._unknown, passing)))
            yield self.canonical(rows)

    def _unknown(self, rows: pa.Table) -> set[str]:
        return {name for name in rows["split"].unique().to_pylist() if self._meaning(name) is None}

    def _refusal(self, names: set[str]) -> InputError:
        unknown = sorted(names)
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        example = ",".join(f"{name}=SPLIT" for name in unknown[:5])
        return InputError(
            f"{self._source} has the split {', '.join(map(repr, unknown[:5]))}{more}, which is none of {_KNOWN}: say what each "
            f"is (--split-map {example}, where SPLIT is {', '.join(SPLITS)}, query, gallery, or {SKIP} to leave its images "
            "out), or leave all splits aside (--redraw-splits)"
        )

    def canonical(self, rows: pa.Table) -> pa.Table:
        """`rows` with splits that have a meaning here, without those to skip.

        Raises:
            InputError: one has none; the message has those of these rows.
        """
        counts = rows["split"].value_counts()
        names = counts.field("values").to_pylist()
        meant = [self._meaning(name) for name in names]
        if None in meant:
            raise self._refusal(self._unknown(rows))
        for name, count in zip(names, counts.field("counts").to_pylist(), strict=True):
            self._seen[name.strip()] += count
        known = [found for found in meant if found is not None]
        place = pc.index_in(rows["split"], value_set=pa.array(names, _TEXT))
        split, role = (
            (pa.array(column, _TEXT).take(place) for column in zip(*known, strict=True))
            if known
            else ((),) * 2
        )
        rows = rows.set_column(
            rows.schema.get_field_index("split"), "split", pa.chunked_array([split], _TEXT)
        )
        rows = rows.append_column("role", pa.chunked_array([role], _TEXT))
        if not self._inline and any(split == SKIP for split, _ in known):
            rows = rows.filter(pc.not_equal(rows["split"], SKIP))
        if "is_query" in rows.column_names or "is_gallery" in rows.column_names:
            return rows.drop_columns(["role"])
        return with_roles(rows, some=True)

    def notes(self) -> Iterator[str]:
        """What was read as what, once all rows have passed.

        Raises:
            InputError: a name of the map is no split of the source.
        """
        if absent := sorted(self._mapped.keys() - self._seen.keys()):
            has = ", ".join(map(repr, sorted(self._seen)))
            raise InputError(f"{self._source} has no split '{absent[0]}' of --split-map; it has {has}")
        blank = sum(count for name, count in self._seen.items() if not name and name not in self._mapped)
        if blank and blank < sum(self._seen.values()):
            yield f"{blank:,} images without a split are train"
        read = []
        for name in sorted(self._seen):
            split, role = self._meaning(name) or (name, "")
            if split == SKIP:
                yield f"{self._seen[name]:,} images left aside: split {name!r} (--split-map {name}={SKIP})"
                continue
            if (name or name in self._mapped) and name != split:
                read.append(f"{name!r} is {split}{f' ({role})' if role else ''}")
        if read:
            yield f"splits by name: {', '.join(read)}"

    def _meaning(self, name: str) -> tuple[str, str] | None:
        """Split and role; None where nothing says them."""
        if name.strip() in self._mapped:
            said = self._mapped[name.strip()]
            return (SKIP, "") if said == SKIP else split_and_role(said)
        split, role = split_and_role(name.strip())
        return (split, role) if split in self._known else None
