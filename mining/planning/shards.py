"""Which shards hold the images of which subspace, for staging them on a local disk before their turn."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..manifest import IdentityImages, Manifest


def shards_of(
    manifest: Manifest,
    images: IdentityImages,
    subspace_id: np.ndarray,
    second_subspace: np.ndarray | None = None,
) -> pa.Table:
    """Return `subspace_id int32, uri string, images int64, bytes int64`, sorted by subspace, then by place.

    One row for every file or archive that holds an image of one of the subspace's identities; its place is that of
    the first such image in the manifest. `bytes` are those of the images alone, empty where the manifest does not
    know the length of one. Memory: about 60 bytes an image.

    Args:
        images: the I identities that are planned.
        subspace_id: int32[I].
        second_subspace: int32[I], another subspace that an identity is a member of as well, -1 for none: its images
            count in both.
    """
    subspace_n, image_n = np.repeat(subspace_id, images.count), images.image_id
    if second_subspace is not None:
        twice = (second_subspace >= 0) & (second_subspace != subspace_id)
        of_both = images.where(twice)
        subspace_n = np.concatenate((subspace_n, np.repeat(second_subspace[twice], of_both.count)))
        image_n = np.concatenate((image_n, of_both.image_id))
    uri = manifest.table["uri"]
    if not pa.types.is_dictionary(uri.type):
        uri = uri.dictionary_encode()
    uri = uri.unify_dictionaries().combine_chunks()
    image_id = pa.array(image_n)
    owned = pa.table(
        {
            "subspace": pa.array(subspace_n.astype(np.int32)),
            "shard": uri.indices.take(image_id),
            "image": image_id,
            "length": manifest.table["length"].take(image_id),
        }
    )
    all_known = pc.ScalarAggregateOptions(skip_nulls=False)
    found = owned.group_by(["subspace", "shard"]).aggregate(
        [("image", "count"), ("image", "min"), ("length", "sum", all_known)]
    )
    found = found.sort_by([("subspace", "ascending"), ("image_min", "ascending")])
    return pa.table(
        {
            "subspace_id": found["subspace"],
            "uri": uri.dictionary.take(found["shard"].combine_chunks()).cast(pa.string()),
            "images": found["image_count"],
            "bytes": found["length_sum"],
        }
    )
