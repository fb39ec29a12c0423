"""Numbers in, numbers out: identity means, subspaces, batch plans, triplets and retrieval metrics.

The names below are stable. They are imported on first use, so that importing one part (or asking the
command line for help) does not load FAISS, torch and Arrow.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .clustering.duplicates import Duplicates, suspected_duplicates
    from .clustering.hardness import batch_hardness
    from .clustering.neighbors import nearest_in_subspace, neighbor_recall
    from .clustering.subspaces import Subspaces, cluster_identities
    from .errors import InputError, StaleArtifactError, StoppedEarly, SubspaceError, SubspaceWarning
    from .manifest import IdentityImages, Manifest
    from .planning.batch_plan import plan_batches
    from .planning.plan_table import write_plan
    from .planning.settings import PlanConfig
    from .triplets import Triplets, mine_batch_ohnm, mine_offline

__all__ = [
    "Duplicates",
    "IdentityImages",
    "InputError",
    "Manifest",
    "PlanConfig",
    "StaleArtifactError",
    "StoppedEarly",
    "SubspaceError",
    "SubspaceWarning",
    "Subspaces",
    "Triplets",
    "batch_hardness",
    "cluster_identities",
    "mine_batch_ohnm",
    "mine_offline",
    "nearest_in_subspace",
    "neighbor_recall",
    "plan_batches",
    "suspected_duplicates",
    "write_plan",
]

_HOME = {
    "Duplicates": "clustering.duplicates",
    "IdentityImages": "manifest",
    "InputError": "errors",
    "Manifest": "manifest",
    "PlanConfig": "planning.settings",
    "StaleArtifactError": "errors",
    "StoppedEarly": "errors",
    "SubspaceError": "errors",
    "SubspaceWarning": "errors",
    "Subspaces": "clustering.subspaces",
    "Triplets": "triplets",
    "batch_hardness": "clustering.hardness",
    "cluster_identities": "clustering.subspaces",
    "mine_batch_ohnm": "triplets",
    "mine_offline": "triplets",
    "nearest_in_subspace": "clustering.neighbors",
    "neighbor_recall": "clustering.neighbors",
    "plan_batches": "planning.batch_plan",
    "suspected_duplicates": "clustering.duplicates",
    "write_plan": "planning.plan_table",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
