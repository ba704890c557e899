"""The page of `modelbuild graph --html`: one file to explore files, steps and models without a network.

Everything comes from the data in the page, and the script puts it there as text alone: a name cannot be more than a name.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from html import escape
from typing import Any


def page(data: Mapping[str, Any]) -> str:
    """Make the page of what `session.explored` found."""
    with open(os.path.join(os.path.dirname(__file__), "graph.html"), encoding="utf-8") as file:
        template = file.read()
    # Nothing in it may end the script element, or begin a comment there.
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    head, _, rest = template.partition("{{title}}")
    middle, _, tail = rest.partition("{{data}}")
    return head + escape(str(data["project"])) + middle + text + tail
