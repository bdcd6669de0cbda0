"""What the API server says of a field that it refuses, in its words (apimachinery's ``field.Error``).

The modules in ``rules`` collect into a ``FieldErrors``; ``validate`` turns it into Problems with positions.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from netsim.objects.spelling import did_you_mean
from netsim.objects.yaml_tree import Path


class FieldError(NamedTuple):
    """``at`` is the place in the file; ``message`` names the field as the API server does."""

    at: Path
    message: str
    hint: str = ""
    is_required: bool = False


class FieldErrors:
    """The mistakes found in one object. ``at`` is where to point when it is not the field that is named."""

    __slots__ = ("items",)

    def __init__(self) -> None:
        self.items: list[FieldError] = []

    def invalid(
        self, where: Path, value: Any, detail: str, *, at: Path | None = None, hint: str = ""
    ) -> None:
        self._add(where, at, f"Invalid value: {_render(value)}: {detail}", hint)

    def each_invalid(
        self, where: Path, value: Any, details: Iterable[str], *, at: Path | None = None, hint: str = ""
    ) -> None:
        """One error for each thing that is wrong with a value."""
        for detail in details:
            self.invalid(where, value, detail, at=at, hint=hint)

    def required(self, where: Path, detail: str = "", *, hint: str = "") -> None:
        body = f"Required value: {detail}" if detail else "Required value"
        self.items.append(FieldError(where, f"{render_path(where)}: {body}", hint, is_required=True))

    def duplicate(self, where: Path, value: Any) -> None:
        self._add(where, None, f"Duplicate value: {_render(value)}", "")

    def duplicate_struct(self, where: Path, struct: str) -> None:
        """A duplicate whose value the API server prints as a struct of its own code."""
        self._add(where, None, f"Duplicate value: {struct}", "")

    def forbidden(self, where: Path, detail: str, *, at: Path | None = None) -> None:
        self._add(where, at, f"Forbidden: {detail}", "")

    def not_found(self, where: Path, value: str) -> None:
        self._add(where, None, f"Not found: {_render(value)}", "")

    def too_many(self, where: Path, count: int, most: int) -> None:
        self._add(where, None, f"Too many: {count}: must have at most {most} items", "")

    def too_long(self, where: Path, most: int) -> None:
        self._add(where, None, f"Too long: may not be more than {most} bytes", "")

    def unsupported(
        self, where: Path, value: str, supported: Sequence[str], *, at: Path | None = None, struct: str = ""
    ) -> None:
        """``struct`` is what the API server prints in place of the value, where it prints more than that."""
        listed = ", ".join(f'"{word}"' for word in supported)
        hint = did_you_mean(value, supported) if value else ""
        shown = struct or _render(value)
        self._add(where, at, f"Unsupported value: {shown}: supported values: {listed}", hint)

    def _add(self, where: Path, at: Path | None, body: str, hint: str) -> None:
        self.items.append(FieldError(where if at is None else at, f"{render_path(where)}: {body}", hint))


def render_path(where: Path) -> str:
    """``spec.ports[0].port``, as the API server names fields."""
    text = ""
    for step in where:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def _render(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
