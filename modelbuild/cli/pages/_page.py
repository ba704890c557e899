"""A page of one file: the head that all pages share, and its own style and body."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from html import escape

_HEAD = "head.html"


def page(name: str, title: str, parts: Mapping[str, str]) -> str:
    """Fill the page NAME.html: `{{KEY}}` is replaced by the part of this name, which is HTML already."""
    filled = {**parts, "title": escape(title)}
    template = _read(_HEAD) + _read(f"{name}.html")
    return re.sub(r"\{\{(\w+)\}\}", lambda mark: filled[mark[1]], template)


def _read(name: str) -> str:
    with open(os.path.join(os.path.dirname(__file__), name), encoding="utf-8") as file:
        return file.read()
