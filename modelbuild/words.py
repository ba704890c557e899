"""How values, sizes and names read in errors and tables."""

from __future__ import annotations


def as_text(value: str | int | float | bool) -> str:
    """A scalar as it reads inside a string, in a tag, as the label of a row."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value)


def got(value: object) -> str:
    """A value as an error names it."""
    if isinstance(value, str):
        return f"'{value}'" if len(value) <= 60 else f"'{value[:59]}…'"
    if isinstance(value, int | float):
        return as_text(value)
    if isinstance(value, dict):
        return "a table"
    return "a list" if isinstance(value, list) else f"a {type(value).__name__}"
