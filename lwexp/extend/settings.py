"""The base of every config section, ours or a plugin's."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """Settings in which unknown keys, wrong types and later changes are errors.

    The validator is built at the first use, because registries may still grow until then.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True, defer_build=True)
