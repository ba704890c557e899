"""The page of `modelbuild graph --html`: one file to explore files, steps and models without a network.

Everything comes from the data in the page, and the script puts it there as text alone: a name cannot be more than a name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from modelbuild.cli.pages import _page


def page(data: Mapping[str, Any]) -> str:
    """Make the page of what `session.explored` found."""
    # Nothing in it may end the script element, or begin a comment there.
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return _page.page("graph", f"Graph: {data['project']}", {"data": text})
