"""The shell around mining and training: arguments, files, order, scheduling.

From Python: `run_rounds(Context.open("runs/photos"))` does what is left of a run; a `RunDirectory` says where its files
lie, `load_config` reads its settings. `embed(network, images)` embeds images at hand. They are imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..mining.lazy_names import import_on_first_use

if TYPE_CHECKING:  # the same names once more, for type checkers and editors
    from .configuration.config_file import load_config as load_config
    from .embedding.embed_in_memory import embed as embed
    from .rounds import run_rounds as run_rounds
    from .run_directory import RunDirectory as RunDirectory
    from .stages.context import Context as Context

_NAMES = {
    "configuration.config_file": ["load_config"],
    "embedding.embed_in_memory": ["embed"],
    "rounds": ["run_rounds"],
    "run_directory": ["RunDirectory"],
    "stages.context": ["Context"],
}
__getattr__, __dir__, __all__ = import_on_first_use(__name__, _NAMES)
