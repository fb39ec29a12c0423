"""Arrow makes arrays of columns without pandas, where it is installed and where it is not."""

from __future__ import annotations

import subprocess
import sys


def test_arrow_does_without_pandas() -> None:
    script = (
        "import sys\n"
        "from subspace.pipeline.inspection.without_pandas import leave_pandas_out\n"
        "leave_pandas_out()\n"
        "import pyarrow as pa\n"
        "column = pa.chunked_array([[1, 2], [None]])\n"
        "assert column.fill_null(0).to_numpy().tolist() == [1, 2, 0]\n"
        "assert 'pandas' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
