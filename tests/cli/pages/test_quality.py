"""The page of `modelbuild quality --html`: well formed, complete, and harmless whatever things are called."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from html.parser import HTMLParser
from typing import Any

from modelbuild.cli.pages.quality import page
from modelbuild.tensors.quality import MEASURES, shown
from tests.tensors.test_quality import a_model

VOID = {"meta", "input", "wbr", "br"}


class Page(HTMLParser):
    """A page's elements, read strictly: each must be closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[dict[str, Any]] = []
        self.open: list[dict[str, Any]] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(attrs) == len(dict(attrs)), f"<{tag}> has an attribute twice"
        element = {"tag": tag, "text": "", "parent": self.open[-1] if self.open else None, **dict(attrs)}
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1]["tag"] == tag, f"</{tag}> closes nothing"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element["text"] += data

    def all(self, tag: str, **attributes: str) -> Iterator[dict[str, Any]]:
        for element in self.elements:
            if element["tag"] == tag and all(element.get(name) == value for name, value in attributes.items()):
                yield element

    def within(self, outer: Mapping[str, Any], tag: str) -> list[dict[str, Any]]:
        def inside(element: Mapping[str, Any] | None) -> bool:
            return element is not None and (element is outer or inside(element["parent"]))

        return [element for element in self.all(tag) if inside(element["parent"])]

    def ids(self, name: str) -> dict[str, Any]:
        (found,) = (element for element in self.elements if element.get("id") == name)
        return found


def figures(found: Page, row: Mapping[str, Any]) -> dict[str, tuple[float | None, str]]:
    """class -> (exact value, text) of the figures in a row of a table."""
    return {
        each["class"]: (float(each["value"]) if each["value"] else None, each["text"])
        for each in found.within(row, "data")
    }


def check_figures(found: Page, models: Sequence[Mapping[str, Any]]) -> None:
    """Every figure of the page's tables is the one of `--json`, and all of them are there."""
    assert json.loads(found.ids("data")["text"]) == models
    rows = found.within(found.within(found.ids("models"), "tbody")[0], "tr")
    assert len(rows) == len(models)
    for row, model in zip(rows, models, strict=True):
        of_files = {name: (model[name], f"{model[name]:,}") for name in ("model_bytes", "weights")}
        assert figures(found, row) == {**of_files, **{name: (model[name], shown(model, name)) for name in MEASURES}}
    rows = found.within(found.within(found.ids("tensors"), "tbody")[0], "tr")
    assert len(rows) == sum(len(model["tensors"]) for model in models)
    seen = set()
    for row in rows:
        tensor = models[int(row["data-model"])]["tensors"][int(row["data-tensor"])]
        seen.add((row["data-model"], row["data-tensor"]))
        assert tensor["name"] in row["text"]
        weights_ = {"weights": (tensor["weights"], f"{tensor['weights']:,}")}
        assert figures(found, row) == {**weights_, **{name: (tensor[name], shown(tensor, name)) for name in MEASURES}}
    assert len(seen) == len(rows)


def heat(found: Page, models: Sequence[Mapping[str, Any]], measure: str = "snr_db") -> None:
    """Every tensor has its cell in the row of its block, with its figure."""
    table = found.ids("maps")
    head, body = found.within(table, "thead")[0], found.within(table, "tbody")[0]
    columns = [each for each in found.within(head, "th") if each["parent"] is found.within(head, "tr")[1]]
    seen = set()
    for row in found.within(body, "tr"):
        block = found.within(row, "th")[0]["text"]
        cells = found.within(row, "td")
        assert len(cells) == len(columns)
        for column, cell in zip(columns, cells, strict=True):
            assert cell["data-model"] == column["data-model"]
            if "data-tensor" not in cell:
                assert cell["text"] == ""
                continue
            tensor = models[int(cell["data-model"])]["tensors"][int(cell["data-tensor"])]
            seen.add((cell["data-model"], cell["data-tensor"]))
            assert column["text"] == tensor["kind"]
            assert block == ("none" if tensor["block"] is None else str(tensor["block"]))
            assert cell["text"] == shown(tensor, measure)
    assert len(seen) == sum(len(model["tensors"]) for model in models)


def test_page_is_well_formed_and_has_every_figure() -> None:
    models = [a_model().data(), a_model("m:q4_K_M", "q4_k").data()]
    found = Page(page(models))
    check_figures(found, models)
    heat(found, models)
    assert found.ids("models")["text"].count("m:latest") == 2


def test_page_asks_for_nothing() -> None:
    text = page([a_model().data()])
    found = Page(text)
    for attribute in ("src", "href", "srcset", "action", "data-src"):
        assert not [element for element in found.elements if attribute in element]
    for word in ("http:", "https:", "url(", "@import", "fetch(", "XMLHttpRequest", "//cdn"):
        assert word not in text


def test_names_cannot_become_markup() -> None:
    evil = "</script><script>alert(1)</script>&amp;\"'{{data}}"
    models = [a_model(evil, names=[f"blk.0.{evil}", "<b>.weight"]).data()]
    found = Page(page(models))
    check_figures(found, models)
    heat(found, models)
    assert len(list(found.all("script"))) == 2
    assert not list(found.all("b"))


def test_the_same_figures_make_the_same_page() -> None:
    assert page([a_model().data()]) == page([a_model().data()])
