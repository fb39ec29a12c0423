"""The Arrow schemas of every Parquet file. Names are fixed: other people's SQL depends on them."""

from __future__ import annotations

from dataclasses import dataclass, field

import pyarrow as pa

SCHEMA_VERSION = 1
MOST_NUMBERS = 2**16
"""In a vector; room is made for what a file claims."""


@dataclass(frozen=True)
class TableKind:
    """One kind of table: its name, its required columns and those that it may also have."""

    name: str
    columns: pa.Schema
    optional: pa.Schema = field(default_factory=lambda: pa.schema([]))
    nullable: frozenset[str] = frozenset()
    """Required columns that may have empty values."""
    any_vector: bool = False
    """Its vectors may be of any floating type, and lists, as other programs write them."""

    def problem_with(self, schema: pa.Schema) -> str | None:
        """Say what is wrong with `schema`, or None: a column missing, or one of another type."""
        for column in self.columns:
            if schema.get_field_index(column.name) < 0:
                return f"has no column '{column.name}'"
        for column in (*self.columns, *self.optional):
            index = schema.get_field_index(column.name)
            if index < 0 or _compatible(actual := schema.field(index).type, column.type):
                continue
            if not (self.any_vector and pa.types.is_fixed_size_list(column.type) and is_vector(actual)):
                return f"has a column '{column.name}' of {actual}, not of {column.type}"
        return None


def is_vector(kind: pa.DataType) -> bool:
    """Whether a column of that type holds vectors: lists of floating numbers, whether their length is fixed or not."""
    if pa.types.is_fixed_size_list(kind):
        return 1 <= kind.list_size <= MOST_NUMBERS and pa.types.is_floating(kind.value_type)
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return lists and pa.types.is_floating(kind.value_type)


def _compatible(actual: pa.DataType, wanted: pa.DataType) -> bool:
    if pa.types.is_dictionary(actual):
        actual = actual.value_type
    if pa.types.is_dictionary(wanted):
        wanted = wanted.value_type
    if pa.types.is_fixed_size_list(wanted):  # list_size 0 in a declared schema stands for any width
        fixed = pa.types.is_fixed_size_list(actual) and actual.value_type == wanted.value_type
        return fixed and 1 <= actual.list_size <= MOST_NUMBERS
    if pa.types.is_list(wanted):
        return pa.types.is_list(actual) and actual.value_type == wanted.value_type
    return actual == wanted


_TEXT = pa.dictionary(pa.int32(), pa.string())
_WHO = (("identity_id", pa.int32()), ("identity", pa.string()), ("images", pa.int32()))
_VECTOR = pa.list_(pa.float32(), 0)

BOX = ("x_1", "y_1", "x_2", "y_2")
"""Columns of the part of an image that counts, as OML names them: left, top, right, bottom, the last two exclusive."""
MANIFEST = TableKind(
    "manifest",
    pa.schema(
        [
            ("identity", pa.string()),
            ("identity_id", pa.int32()),
            ("uri", _TEXT),
            ("offset", pa.int64()),
            ("length", pa.int64()),
            ("split", _TEXT),
            ("keep", pa.bool_()),
        ]
    ),
    # group: what an evaluation pair must not share (a camera, an album, a type family).
    # x_1 to y_2: the part of the upright image that counts, x_2 and y_2 exclusive; null: all of it.
    # is_query, is_gallery: what an image of a held-out split is for, where the source says so.
    optional=pa.schema(
        [
            ("image", pa.binary()),
            ("group", _TEXT),
            *((name, pa.int32()) for name in BOX),
            ("is_query", pa.bool_()),
            ("is_gallery", pa.bool_()),
        ]
    ),
    # uri: empty where the image itself is in the table; offset and length: empty for a whole file.
    nullable=frozenset({"uri", "offset", "length"}),
)


def vector(width: int, value: pa.DataType | None = None) -> pa.DataType:
    """Type of a column that holds one vector of `width` numbers a row (float32 by default)."""
    return pa.list_(value or pa.float32(), width)


IDENTITIES = TableKind(
    "identities",
    pa.schema(
        [
            ("identity_id", pa.int32()),
            ("identity", pa.string()),
            ("images", pa.int32()),
            ("mean", _VECTOR),
            ("spread", pa.float32()),
        ]
    ),
)
EMBEDDINGS = TableKind(
    "embeddings",
    pa.schema(
        [("image_id", pa.int64()), ("identity_id", pa.int32()), ("embedding", pa.list_(pa.float16(), 0))]
    ),
)
_OF_IMAGES = pa.schema(
    [
        *((name, pa.string()) for name in ("identity", "split", "group")),
        *((name, pa.bool_()) for name in ("is_query", "is_gallery")),
    ]
)
IMAGE_EMBEDDINGS = TableKind(
    "image_embeddings",
    # image: a path or URL, `PATH#OFFSET+LENGTH` for a place inside a file.
    pa.schema([("image", pa.string()), ("embedding", _VECTOR)]),
    optional=_OF_IMAGES,
    any_vector=True,
)
EMBEDDING_ROWS = TableKind(  # beside a .npy of embeddings
    "embedding_rows", pa.schema([("row", pa.int64()), ("image", pa.string())]), optional=_OF_IMAGES
)
INDEXED_IMAGES = TableKind(  # of a search index, beside images.npy
    "indexed_images", pa.schema([("image", pa.string()), ("identity_id", pa.int32())])
)
INDEXED_IDENTITIES = TableKind(
    "indexed_identities",
    pa.schema([("identity_id", pa.int32()), ("identity", pa.string()), ("images", pa.int32())]),
)
QUARANTINE = TableKind(
    "quarantine",
    pa.schema(
        [("image_id", pa.int64()), ("identity", pa.string()), ("uri", pa.string()), ("reason", pa.string())]
    ),
    nullable=frozenset({"uri"}),
)
SUBSPACES = TableKind(
    "subspaces",
    pa.schema([("identity_id", pa.int32()), ("subspace_id", pa.int32()), ("similarity", pa.float32())]),
    # With cluster.overlap: the other subspace of an identity at a border, null for all others.
    optional=pa.schema([("second_subspace_id", pa.int32())]),
)
DUPLICATES = TableKind(
    "duplicates",
    pa.schema(
        [
            *((f"{name}_a", kind) for name, kind in _WHO),
            *((f"{name}_b", kind) for name, kind in _WHO),
            ("similarity", pa.float32()),
            ("expected", pa.float32()),
        ]
    ),
)
CENTROIDS = TableKind(
    "centroids",
    pa.schema([("subspace_id", pa.int32()), ("size", pa.int32()), ("centroid", _VECTOR)]),
)
PLAN = TableKind(
    "plan",
    pa.schema(
        [
            ("step", pa.int64()),
            ("subspace_id", pa.int32()),
            ("identity_ids", pa.list_(pa.int32())),
            ("image_ids", pa.list_(pa.int64())),
        ]
    ),
)

KEEP = TableKind(
    "keep",
    pa.schema(
        [("image_id", pa.int64()), ("identity_id", pa.int32()), ("keep", pa.bool_()), ("reason", _TEXT)]
    ),
    nullable=frozenset({"reason"}),
)
SUSPECTS = TableKind(
    "suspects",
    pa.schema(
        [
            ("reason", _TEXT),
            ("score", pa.float32()),
            *_WHO[:2],
            ("image_id", pa.int64()),
            ("other_identity_id", pa.int32()),
            ("other_identity", pa.string()),
            ("other_image_id", pa.int64()),
        ]
    ),
    # image_id: empty where an identity is suspected as a whole.
    nullable=frozenset({"image_id", "other_identity_id", "other_identity", "other_image_id"}),
)

MISTAKES = TableKind(
    "mistakes",  # of an examination, the worst first: image_id was taken for wrong_image_id
    pa.schema(
        [
            ("image_id", pa.int64()),
            *_WHO[:2],
            ("right_image_id", pa.int64()),
            ("right_similarity", pa.float32()),
            ("wrong_image_id", pa.int64()),
            ("wrong_identity_id", pa.int32()),
            ("wrong_identity", pa.string()),
            ("wrong_similarity", pa.float32()),
        ]
    ),
)

KINDS = (
    *(MANIFEST, IDENTITIES, EMBEDDINGS, QUARANTINE, SUBSPACES, CENTROIDS, DUPLICATES, PLAN),
    *(IMAGE_EMBEDDINGS, EMBEDDING_ROWS, KEEP, SUSPECTS, INDEXED_IMAGES, INDEXED_IDENTITIES, MISTAKES),
)


def kind_of(schema: pa.Schema) -> TableKind | None:
    """The kind of table that `schema` is, by its columns; None for a foreign table."""
    return next((kind for kind in KINDS if kind.problem_with(schema) is None), None)
