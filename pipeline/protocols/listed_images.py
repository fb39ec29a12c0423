"""The images of a list as a manifest, so that they are opened as all others are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from ...mining.manifest import Manifest


def listed_manifest(path: Path, places: Sequence[str] | None, contents: Sequence[bytes] | None) -> Manifest:
    """A row for each image: the file that it is, or its bytes.

    >>> manifest = listed_manifest(Path("pairs.txt"), ["ann/1.jpg", "bob/1.jpg"], None)
    >>> len(manifest), manifest.table["uri"].to_pylist()
    (2, ['ann/1.jpg', 'bob/1.jpg'])

    Args:
        path: of the list, for messages; relative places begin where it lies.
        places: paths or URLs. contents: encoded images. One of the two.
    """
    count = len(places if places is not None else contents or ())
    text = pa.dictionary(pa.int32(), pa.string())
    columns = {
        "identity": pa.nulls(count, pa.string()),
        "identity_id": pa.array(np.zeros(count, np.int32)),
        "uri": pa.nulls(count, text) if places is None else pa.array(places, pa.string()).cast(text),
        "offset": pa.nulls(count, pa.int64()),
        "length": pa.nulls(count, pa.int64()),
        "split": pa.nulls(count, text),
        "keep": pa.array(np.ones(count, bool)),
    }
    if contents is not None:
        columns["image"] = pa.array(contents, pa.binary())
    return Manifest(path, pa.table(columns), fingerprint="")
