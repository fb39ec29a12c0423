"""The base of every settings model: frozen, typed, and strict about unknown keys."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """One section of `subspace.yaml`, declared beside the code that it steers.

    A subclass gives each field a default and a one-sentence `Field(description=...)`; `subspace init`
    writes those sentences into the file as comments.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())
