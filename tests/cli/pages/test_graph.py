"""The page of `modelbuild graph --html`: well formed, with all of its data, and harmless whatever things are called."""

from __future__ import annotations

import json
import re
from typing import Any

from modelbuild.cli.pages.graph import page
from tests.cli.pages.test_quality import Page

HOSTILE = "</script><script>document.title='gone'</script><img src=x onerror=alert(1)>{{data}} &amp; \u2028 '\""


def data(name: str = "a") -> dict[str, Any]:
    nodes = [
        {"kind": "file", "name": name, "state": "file", "bytes": 3},
        {"kind": "step", "name": "m/convert", "state": "cached", "seconds": 0.5, "notes": ["convert"]},
        {"kind": "model", "name": name, "state": "built", "notes": [name]},
    ]
    return {"project": name, "nodes": nodes, "edges": [[0, 1], [1, 2]]}


def test_the_page_has_its_data_and_asks_for_nothing_else() -> None:
    text = page(data())
    found = Page(text)
    assert json.loads(found.ids("data")["text"]) == data()
    assert "default-src 'none'" in text
    assert not re.search(r"(src|href)=|@import|url\(|https?://(?!www\.w3\.org)", text), "the page loads something"


def test_a_hostile_name_stays_a_name() -> None:
    found = Page(page(data(HOSTILE)))
    assert json.loads(found.ids("data")["text"]) == data(HOSTILE)
    assert len(list(found.all("script"))) == 2 and not list(found.all("img"))
    assert next(found.all("title"))["text"] == f"Graph: {HOSTILE}"


def test_the_script_makes_no_markup_of_texts() -> None:
    script = next(each["text"] for each in Page(page(data())).all("script") if "type" not in each)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|new Function", script)
