"""The base of every config section, and the annotation of keys from which every list of keys is derived."""

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict
from pydantic.fields import FieldInfo

Affects = Literal["result", "choice", "speed", "label"]
"""``result``: another value may give another result, so the key is part of a run's id. ``choice``: the same, but only
by choosing among existing samples. ``speed``: time, memory, checkpoints or logs, never a result. ``label``: where a
run is stored, its name, or which run is meant."""

_UNSET: Any = object()


class Strict(BaseModel):
    """Settings in which unknown keys, wrong types and later changes are errors.

    The validator is built at first use, because classes may be registered until then.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)

    def identified(self) -> "Strict":
        """The settings that a run's id is computed from, in place of these."""
        return self


@dataclass(frozen=True)
class Key:
    """Annotation of a field: ``threads: Annotated[int | None, Key("speed")]``.

    Attributes:
        affects: What another value changes.
        neutral: Value at which the key has no effect. A key added later has one; at that value it is left out of a
            run's id, so that the ids of earlier runs do not change.
        read_by: Commands that read it (keys of the root config only).
        shapes: Stages whose results it shapes (sections of the root config only).
        still_in_ids: It cannot change a result, but earlier versions counted it in ids. It still counts there, so that
            ids stay as they are; a run that differs only in such keys is found and continued instead.
        formerly: Its name in earlier versions. Ids are still computed with it, and stored configs with it are read;
            typing it gives an error with the new name.
    """

    affects: Affects = "result"
    neutral: Any = _UNSET
    read_by: tuple[str, ...] = ()
    shapes: tuple[str, ...] = ()
    still_in_ids: bool = False
    formerly: str | None = None

    @property
    def has_neutral(self) -> bool:
        """Whether there is a value at which the key does nothing."""
        return self.neutral is not _UNSET


def key_of(field: FieldInfo) -> Key:
    """The annotation of a field, or a default one."""
    return next((item for item in field.metadata if isinstance(item, Key)), Key())
