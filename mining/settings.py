"""The base of every settings model: frozen, typed, and strict about unknown keys."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator


class Settings(BaseModel):
    """One section of `subspace.yaml`, declared beside the code that it steers.

    A subclass gives each field a default and a one-sentence `Field(description=...)`; `subspace init`
    writes those sentences into the file as comments.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())

    @field_validator("*", mode="before")
    @classmethod
    def _no_word_is_a_number(cls, value: Any, field: ValidationInfo) -> Any:
        """YAML reads yes, on and true as one word, which would pass for 1."""
        words = [
            one for one in (value if isinstance(value, list | tuple) else [value]) if isinstance(one, bool)
        ]
        if words and field.field_name is not None:
            kinds = _kinds(cls.model_fields[field.field_name].annotation)
            if kinds & {int, float} and not kinds & {bool, str}:
                raise ValueError(f"a number is wanted, not {'yes' if words[0] else 'no'}")
        return value


def _kinds(annotation: Any) -> set[Any]:
    """The types that an annotation is made of: those of a union, and of what a tuple holds."""
    return {annotation}.union(*map(_kinds, get_args(annotation)))
