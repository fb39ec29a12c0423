"""Arrow without pandas: it would import that, where it is installed, before a first column becomes an array."""

from __future__ import annotations

import sys


class _NotHere:
    """A finder that says of pandas what every finder says where it is not installed."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError("pandas is left out", name=name)


def leave_pandas_out() -> None:
    """Have this process do without pandas, which it does not need and which is half of all the time of a short command."""
    if "pandas" not in sys.modules and _NotHere not in sys.meta_path:
        sys.meta_path.insert(0, _NotHere)  # pyright: ignore[reportArgumentType]
