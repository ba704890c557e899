"""`modelbuild graph --html`: the page, and what it does in a browser with a thousand models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from modelbuild.cli.pages.graph import page
from tests.cli.pages.test_quality import Page
from tests.e2e.project import Project
from tests.e2e.test_commands import make, run
from tests.e2e.test_quality import CHROMIUM, rendered

HOSTILE = "<img src=x onerror=\"document.documentElement.dataset.wrong='injected'\">"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = make(tmp_path_factory.mktemp("graph"))
    assert run(project)[0] == 0
    return project


def test_the_page_lies_where_it_is_asked_for(project: Project) -> None:
    code, out, err = run(project, "graph", "--html", "graph.html")
    assert (code, out) == (0, "") and "wrote graph.html" in err
    data = json.loads(Page((project.folder / "graph.html").read_text()).ids("data")["text"])
    assert [node["name"] for node in data["nodes"] if node["kind"] == "model"] == ["base:q8_0", "base:q4_K_M", "chat"]
    assert {node["state"] for node in data["nodes"] if node["kind"] == "model"} == {"built"}
    assert run(project, "graph", "--html", "graph.html", "base:q8_0")[0] == 0
    assert '"chat"' not in (project.folder / "graph.html").read_text()
    code, _, err = run(project, "graph", "--html", "no/graph.html")
    assert code == 2 and "no such folder" in err


def thousand() -> dict[str, Any]:
    """A graph as that of 1,000 variants over four types of one base; one has a hostile name."""
    nodes: list[dict[str, Any]] = [
        {"kind": "file", "name": "weights/model.safetensors", "state": "file", "bytes": 10**9}
    ]
    edges = []

    def add(kind: str, name: str, state: str, *inputs: int) -> int:
        nodes.append({"kind": kind, "name": name, "state": state, "bytes": 1000, "seconds": 0.1, "notes": [name]})
        edges.extend([number, len(nodes) - 1] for number in inputs)
        return len(nodes) - 1

    convert = add("step", "base/convert", "cached", 0)
    models = [add("step", f"base:{quant}/model", "cached", convert) for quant in ("q4_0", "q5_0", "q6_K", "q8_0")]
    for number in range(1000):
        name = HOSTILE if number == 500 else f"persona-{number}"
        text = add("file", f"personas/{name}/Modelfile", "file")
        system = add("step", f"{name}/system", "cached", text)
        manifest = add("step", f"{name}/manifest", "cached", system, models[number % 4])
        add("model", name, "changed" if number % 10 == 0 else "built", manifest)
    return {"project": "thousand", "nodes": nodes, "edges": edges}


def rows(found: Page, kind: str, *classes: str) -> list[str]:
    """The names in a list, of those that are shown and have these classes."""
    shown = [row for row in found.within(found.ids(kind), "li") if "hidden" not in row]
    chosen = [row for row in shown if {*classes} <= {*(row.get("class") or "").split()}]
    return [found.within(row, "span")[0]["text"] for row in chosen]


peer = pytest.mark.peer
browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium (Debian package chromium)")


@pytest.fixture
def big(tmp_path: Path) -> Path:
    path = tmp_path / "graph.html"
    path.write_text(page(thousand()))
    return path


@peer
@browser
def test_a_thousand_models_load_in_less_than_two_seconds(big: Path, tmp_path: Path) -> None:
    found = rendered(big, tmp_path / "profile")
    assert int(next(found.all("html"))["data-ready"]) < 2000
    assert found.ids("count-model")["text"] == "1,000 of 1,000"
    assert HOSTILE in rows(found, "model") and not list(found.all("img"))
    assert "hidden" in found.ids("details")


@peer
@browser
def test_search_and_states_choose_what_is_listed(big: Path, tmp_path: Path) -> None:
    then = """const find = document.getElementById("find"); find.value = "PERSONA-99 ";
    find.dispatchEvent(new Event("input"));"""
    found = rendered(big, tmp_path / "profile", then=then)
    assert rows(found, "model") == ["persona-99", *(f"persona-99{digit}" for digit in range(10))]
    assert found.ids("count-model")["text"] == "11 of 1,000"
    then += """document.querySelector('#states button[data-state=changed]').click();"""
    found = rendered(big, tmp_path / "profile", then=then)
    assert rows(found, "model") == ["persona-990"]
    found = rendered(big, tmp_path / "profile", "find=persona-990%2F&only=1")
    assert rows(found, "model") == [] and rows(found, "step") == ["persona-990/system", "persona-990/manifest"]


@peer
@browser
def test_a_click_on_a_file_highlights_the_path_to_the_models_it_reaches(big: Path, tmp_path: Path) -> None:
    then = """const click = name => [...document.querySelectorAll("#file li button")].find(
      each => each.firstChild.textContent === name).click(); click("personas/persona-7/Modelfile");"""
    found = rendered(big, tmp_path / "profile", then=then)
    assert rows(found, "file", "chosen") == ["personas/persona-7/Modelfile"]
    assert rows(found, "model", "on") == ["persona-7"]
    assert rows(found, "step", "on") == ["persona-7/system", "persona-7/manifest"]
    assert len(rows(found, "model", "dim")) == 999
    (path,) = [each for each in found.within(found.ids("details"), "p") if each.get("class") == "path"]
    assert [each["text"] for each in found.within(path, "button")] == [
        "personas/persona-7/Modelfile", "persona-7/system", "persona-7/manifest", "persona-7",
    ]  # fmt: skip
    drawn = [each["text"] for each in found.within(found.ids("picture"), "title")]
    assert sorted(drawn) == sorted(each["text"] for each in found.within(path, "button"))
    found = rendered(big, tmp_path / "profile", then=then + 'click("personas/persona-7/Modelfile");')
    assert "hidden" in found.ids("details") and not rows(found, "model", "on")


@peer
@browser
def test_the_address_chooses_and_a_model_tells_what_it_is_made_from(big: Path, tmp_path: Path) -> None:
    found = rendered(big, tmp_path / "profile", f"kind=model&name={quote(HOSTILE)}&only=1")
    assert rows(found, "model") == [HOSTILE]
    assert sorted(rows(found, "file")) == sorted(["weights/model.safetensors", f"personas/{HOSTILE}/Modelfile"])
    assert rows(found, "step", "on") == ["base/convert", "base:q4_0/model", f"{HOSTILE}/system", f"{HOSTILE}/manifest"]
    assert next(found.all("h3"))["text"] == HOSTILE and not list(found.all("img"))


@peer
@browser
def test_weights_reach_every_model(big: Path, tmp_path: Path) -> None:
    found = rendered(big, tmp_path / "profile", "kind=file&name=weights%2Fmodel.safetensors")
    assert found.ids("count-model")["text"] == "1,000 of 1,000" and found.ids("count-file")["text"] == "1 of 1,001"
    assert "and 970 more" in found.ids("details")["text"]
