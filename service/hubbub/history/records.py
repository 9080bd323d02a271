"""Records that are made for every message.

A frozen dataclass stores each field by a call, so that making one with twelve takes 1.2 us; an ordinary one takes 0.36.
Two messages are made for each that is sent, and one for each that is read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

__all__ = ["record"]

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def record(cls: type[T]) -> type[T]:
    """A dataclass with slots, compared and hashed by its fields, that is frozen for whoever checks types and not when
    it runs.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)
