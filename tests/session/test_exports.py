"""Exports of a project: which models they have, how these are called there, and what is remembered of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modelbuild.engine.build import BuildOptions
from modelbuild.engine.graph import Output
from modelbuild.errors import Error
from modelbuild.publish.exported_tree import Laid
from modelbuild.session import exports
from modelbuild.session.building import build
from modelbuild.session.exports import Ledger, Wanted, stems
from modelbuild.session.session import Session
from tests.e2e.project import Project
from tests.session.conftest import Open


def named(*names: str) -> list[Output]:
    return [Output(f"l{n}", (f"registry.ollama.ai/{name}",), "m", ("c",)) for n, name in enumerate(names)]


def test_stems_tell_models_apart_on_every_file_system() -> None:
    assert list(stems(named("library/chat/latest", "library/chat/q8_0")).values()) == ["chat", "chat-q8_0"]
    found = list(stems(named("x/chat/latest", "y/Chat/latest")).values())
    assert found == ["registry.ollama.ai-x-chat-latest", "registry.ollama.ai-y-Chat-latest"]
    found = list(stems(named("library/a-b/c", "library/a/b-c", "library/con/latest")).values())
    assert found[2] == "_con" and len({each.casefold() for each in found}) == 3


def test_limits_are_the_shapes_own_unless_somebody_says_otherwise() -> None:
    assert Wanted("folder", "/x").limit is None
    assert Wanted("hugging-face", "/x").limit == (50_000_000_000, 0)
    assert Wanted("hugging-face", "/x", "5M").limit == (5_000_000, 0)
    assert Wanted("oci", "/x", "5M").limit is None


def test_a_ledger_is_read_back() -> None:
    ledger = Ledger({"a": b'{"x": "\xc3\xbc"}'}, {"/out/x": "a"})
    assert Ledger.decode(ledger.encode()) == ledger
    assert Ledger.decode(None) == Ledger({}, {})


def declare(project: Project, *, base: str, chat: str = "[]") -> None:
    project.write(
        "ModelBuild.toml",
        f'[model.base]\nfrom = "./weights"\nquantize = "q8_0"\nexport = {base}\n\n'
        f'[model.chat]\nfrom = "base"\nsystem = "Hello."\nexport = {chat}\n',
    )


def run(session: Session, *targets: str) -> list[Error]:
    return build(session, session.select(targets), BuildOptions(), lambda event: None)


def test_models_that_name_a_folder_are_in_it_together(start: Open, project: Project) -> None:
    declare(
        project,
        base='[{ as = "oci", path = "o" }]',
        chat='[{ as = "oci", path = "./o" }, { as = "folder", path = "f" }]',
    )
    session = start()
    found = exports.declared(session)
    assert [(each.wanted.shape, [output.label for output in each.outputs]) for each in found] == [
        ("oci", ["base", "chat"]),
        ("folder", ["chat"]),
    ]
    base = session.graph.outputs[0]
    assert found[0].has(base) and not found[1].has(base)
    assert [Path(path).name for path in found[1].paths(session.graph.outputs[1])] == ["chat.gguf", "Modelfile"]


def test_what_is_put_is_noted_and_what_is_gone_is_told(start: Open, project: Project) -> None:
    declare(project, base='[{ as = "llama-server", path = "s" }]', chat='[{ as = "llama-server", path = "s" }]')
    session = start()
    assert not run(session)
    assert exports.stale_files(session) == []
    assert [Path(path).name for path in exports.written_files(session)] == ["base.gguf", "chat.gguf", "presets.ini"]
    declare(project, base='[{ as = "llama-server", path = "s" }]')
    session = start()
    assert [Path(path).name for path in exports.stale_files(session)] == ["chat.gguf"]
    declare(project, base="[]")
    session = start()
    gone = exports.stale_files(session)
    assert [Path(path).name for path in gone] == ["base.gguf", "chat.gguf", "presets.ini"]
    assert exports.remove_files(session, gone) == gone and not (project.folder / "s").exists()
    assert exports.written_files(session) == []


def test_a_build_of_one_model_leaves_the_others_as_they_stand(start: Open, project: Project) -> None:
    both = '[{ as = "llama-server", path = "s" }]'
    declare(project, base=both, chat=both)
    assert not run(start(), "chat")
    presets = project.folder / "s/presets.ini"
    assert "[chat]" in presets.read_text() and "[base]" not in presets.read_text()
    assert not run(start(), "base")
    assert "[chat]" in presets.read_text() and "[base]" in presets.read_text()


def test_what_is_said_of_all_is_written_once_with_the_last_model(start: Open, project: Project) -> None:
    both = '[{ as = "oci", path = "o" }]'
    declare(project, base=both, chat=both)
    session = start()
    events: list[dict[str, Any]] = []
    assert not build(session, session.select(()), BuildOptions(), events.append)
    files = [Path(each["path"]).name for each in events if each["event"] == "file"]
    assert files.count("index.json") == 1 and files[-1] == "index.json"
    index = json.loads((project.folder / "o/index.json").read_text())
    assert len(index["manifests"]) == 2
    # What the models have no more goes after that, the blobs that the new index names stay.
    before = {path.name for path in (project.folder / "o/blobs/sha256").iterdir()}
    toml = project.folder / "ModelBuild.toml"
    toml.write_text(toml.read_text().replace("Hello.", "Bye."))
    assert not run(start())
    after = {path.name for path in (project.folder / "o/blobs/sha256").iterdir()}
    assert len(before - after) == len(after - before) > 1
    named = [
        each["digest"].removeprefix("sha256:")
        for each in json.loads((project.folder / "o/index.json").read_text())["manifests"]
    ]
    assert after.issuperset(named)


def test_what_is_said_of_all_comes_also_if_the_last_model_fails(
    start: Open, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = '[{ as = "llama-server", path = "s" }]'
    declare(project, base=both, chat=both)
    put = exports.Export.put

    def failing(self: exports.Export, output: Output, *given: Any) -> list[Laid]:
        if output.label == "chat":
            raise Error("no")
        return put(self, output, *given)

    monkeypatch.setattr(exports.Export, "put", failing)
    assert [error.what for error in run(start())] == ["no"]
    presets = (project.folder / "s/presets.ini").read_text()
    assert "[base]" in presets and "[chat]" not in presets
    assert [Path(path).name for path in exports.written_files(start())] == ["base.gguf", "presets.ini"]


@pytest.mark.parametrize("name", ["README.md", "base-Q8_0.gguf"])
def test_a_folder_that_is_not_as_we_left_it_is_not_finished(start: Open, project: Project, name: str) -> None:
    declare(project, base='[{ as = "hugging-face", path = "h" }]')
    assert not run(start())
    session = start()
    standing = session.standing(session.graph)
    output, (export,) = session.graph.outputs[0], exports.declared(session)
    manifest = standing.results[output.manifest]
    assert export.standing(output, manifest, standing.results) is not None
    (project.folder / "h" / name).unlink()
    assert export.standing(output, manifest, standing.results) is None
