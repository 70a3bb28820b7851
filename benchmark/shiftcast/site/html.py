"""HTML that cannot be broken out of: text is escaped unless it was made here, and files get safe names.

Everything that people submit (names, titles, notes) passes through `tag`, `script_json` or `slugs`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from html import escape
from typing import Any

from shiftcast.util.hashing import sha256

LONGEST_SLUG = 60
"""Characters that a name gives to a file's."""
VOID = frozenset({"br", "img", "input", "link", "meta"})
"""Elements without content."""
RESERVED = frozenset(
    {"aux", "con", "nul", "prn", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}
)
"""File names that Windows keeps to itself."""


class Html(str):
    """Markup that is safe to print as it is; any other string is text and will be escaped."""

    __slots__ = ()

    def __html__(self) -> str:
        """Return the markup: templates do not escape it again."""
        return self


Child = str | int | None
"""What an element holds: markup (`Html`), or text; None is nothing."""


def tag(element: str, *children: Child, **attributes: Any) -> Html:
    """Return an element.

    Parameters
    ----------
    element
        Its name.
    children
        Markup or text, in order.
    attributes
        By name; `_` stands for `-` and is dropped at the end (`class_`, `data_shift`). None and False
        leave an attribute out, True gives it no value.
    """
    given = "".join(_attribute(name, value) for name, value in attributes.items())
    if element in VOID:
        return Html(f"<{element}{given}>")
    return Html(f"<{element}{given}>{joined(*children)}</{element}>")


def _attribute(name: str, value: Any) -> str:
    if value is None or value is False:
        return ""
    written = name.rstrip("_").replace("_", "-")
    return f" {written}" if value is True else f' {written}="{escape(clean(str(value)))}"'


def joined(*children: Child) -> Html:
    """Return children one after the other, text escaped."""
    return Html(
        "".join(
            child if isinstance(child, Html) else escape(clean(str(child)))
            for child in children
            if child is not None
        )
    )


def clean(text: str) -> str:
    """Return text without characters that turn its direction or that no screen shows."""
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text)


def script_text(value: Any) -> str:
    """Return a value as JSON that may stand inside a script element: nothing in it can end one."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def script_json(name: str, value: Any) -> Html:
    """Return an element that holds a value as JSON and runs nothing; `name` is its id."""
    return Html(f'<script type="application/json" id="{escape(name)}">{script_text(value)}</script>')


def slugs(names: Iterable[str]) -> dict[str, str]:
    """Return a file name without suffix for each name: of `[A-Za-z0-9_.-]`, no two alike on any system.

    A name that is safe as it is keeps it; any other, and all but the first of names that differ in case
    alone, end in a hash of the name.
    """
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in sorted(set(names)):
        plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip(".-")[:LONGEST_SLUG]
        safe = plain == name != "" and plain.casefold() not in taken | RESERVED
        found[name] = plain if safe else f"{plain or 'name'}-{sha256(name.encode())[:10]}"
        taken.add(found[name].casefold())
    return found
