"""Every command on one small project: what it prints, what it does, how it ends. UPDATE_GOLDEN=1 writes the texts."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest

from modelbuild.cli import main
from modelbuild.session.building import KEPT
from tests import adapters
from tests.e2e.project import Project, old
from tests.plan.test_plan import gguf_file

GOLDEN = Path(__file__).parents[1] / "golden" / "cli"

TOML = """
[project]
name = "demo"
modelfiles = ["models/**/Modelfile"]
models = "out"

[vars]
ctx = 2048

[model.base]
from = "./weights"
description = "what the others derive from"
parameters = { num_ctx = "${ctx}" }
[model.base.matrix]
quantize = ["q8_0", "q4_K_M"]
[model.base.default]
quantize = "q4_K_M"

[model.chat]
parameters = { temperature = 0.2, stop = ["<end>", "User:"] }

[group]
all = ["base", "chat"]
"""
CHAT = """FROM base
TEMPLATE {{ .System }} {{ .Prompt }}
SYSTEM You are a test.
PARAMETER temperature 0.7
MESSAGE user hello
MESSAGE assistant hi there
LICENSE do as you like
"""


def make(folder: Path) -> Project:
    project = Project(folder)
    project.write("ModelBuild.toml", TOML)
    project.write("models/chat/Modelfile", CHAT)
    project.checkpoint()
    return project


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A built project, for commands that only look."""
    project = make(tmp_path_factory.mktemp("built"))
    assert run(project)[0] == 0
    return project


@pytest.fixture
def project(built: Project, tmp_path: Path) -> Project:
    """A copy of the built one, in which one build has been run."""
    shutil.copytree(built.folder, tmp_path / "project", symlinks=True)
    project = Project(tmp_path / "project")
    assert run(project)[0] == 0
    return project


def run(project: Project, *words: str, **env: str) -> tuple[int, str, str]:
    """Run in the project's folder, as a user would, but in this process."""
    out, err = io.StringIO(), io.StringIO()
    env = {"MODELBUILD_CACHE": str(project.cache), "OLLAMA_MODELS": str(project.models), **env}
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        contextlib.chdir(project.folder),
    ):
        for name, value in env.items():
            patch.setenv(name, value)
        code = main.main(words)
    return code, out.getvalue(), err.getvalue()


def plain(text: str, project: Project) -> str:
    """Without what differs from run to run: times, digests, the folder, the order of what ran at once."""
    text = text.replace(str(project.folder), "<project>")
    text = re.sub(r"\d+\.\d\d s\b", "# s", text)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "<time>", text)
    text = re.sub(r'"seconds": [0-9.]+', '"seconds": #', text)
    text = re.sub(r"sha256:[0-9a-f]{64}", "sha256:<digest>", text)
    text = re.sub(r"sha256-[0-9a-f]{64}", "sha256-<digest>", text)
    text = re.sub(r"xxh3:[0-9a-f]{32}", "xxh3:<digest>", text)
    text = re.sub(r"((?:sha256|xxh3):)[0-9a-f]{12}\b", r"\1<digest>", text)
    text = re.sub(r"  [0-9a-f]{12}  ", "  <model's id>  ", text)
    text = re.sub(r"^(database|cache|both)  +[0-9.]+ [kM]B", r"\1  #", text, flags=re.MULTILINE)
    lines = text.split("\n")
    first = next((n for n, line in enumerate(lines) if line.startswith("run  ")), 0)
    last = first + next((n for n, line in enumerate(lines[first:]) if not line.startswith(("run  ", "built  "))), 0)
    return "\n".join([*lines[:first], *sorted(lines[first:last], reverse=True), *lines[last:]])


def golden(name: str, project: Project, *words: str, **env: str) -> None:
    """Compare exit code, stdout and stderr with tests/golden/cli/NAME.txt."""
    code, out, err = run(project, *words, **env)
    said = plain(f"$ modelbuild {' '.join(words)}\n{out}--- stderr\n{err}--- exit {code}\n", project)
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(said)
    assert said == path.read_text()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("build_nothing_to_do", []),
        ("build_verbose", ["-v", "chat"]),
        ("dry_run_nothing", ["-n"]),
        ("list", ["list"]),
        ("worker_without_cache", ["worker", "tcp://scheduler:8786"]),
        ("list_json", ["list", "--json"]),
        ("list_one", ["list", "base:q8_0"]),
        ("show", ["show", "chat"]),
        ("show_default_row", ["show", "base"]),
        ("show_json", ["--json", "show", "chat"]),
        ("show_modelfile", ["show", "chat", "--modelfile"]),
        ("show_several", ["show", "base:*"]),
        ("check", ["check"]),
        ("check_verbose", ["-v", "check", "base:q8_0"]),
        ("explain_nothing", ["explain"]),
        ("explain_other_cache", ["explain", "--cache", "empty", "chat"]),
        ("dry_run_other_cache", ["-n", "--cache", "empty", "base:q8_0"]),
        ("graph", ["graph"]),
        ("graph_dot", ["graph", "chat", "--format", "dot"]),
        ("graph_mermaid", ["graph", "chat", "--format", "mermaid"]),
        ("graph_steps", ["graph", "--steps"]),
        ("graph_steps_dot", ["graph", "chat", "--steps", "--format", "dot"]),
        ("graph_steps_mermaid", ["graph", "chat", "--steps", "--format", "mermaid"]),
        ("graph_json", ["graph", "base:q8_0", "--format", "json"]),
        ("clean_dry_run", ["clean", "-n"]),
        ("clean_stale_nothing", ["clean", "--stale"]),
        ("clean_cache_dry_run", ["clean", "--cache", "-n"]),
        ("du", ["du"]),
        ("du_one", ["du", "chat"]),
        ("du_no_such_name", ["du", "cht"]),
        ("gc_dry_run", ["gc", "-n"]),
        ("gc_json", ["gc", "--json", "--dry-run", "--older-than", "0d"]),
        ("gc_malformed_age", ["gc", "--older-than", "a month"]),
        ("verify", ["verify"]),
        ("verify_json", ["verify", "--json", "--dry-run"]),
        ("foreign_prune", ["prune"]),
        ("unknown_target", ["chatt"]),
        ("unknown_targets", ["list", "x", "bose"]),
        ("unknown_row", ["base:q9"]),
        ("misspelled_command", ["lst"]),
        ("foreign_stop", ["stop", "chat"]),
        ("foreign_option", ["bake", "--print"]),
        ("help_list", ["help", "list"]),
        ("help_of_no_command", ["help", "lst"]),
        ("unknown_option", ["list", "--jsn"]),
        ("unknown_folder", ["-C", "nowhere", "list"]),
        ("unknown_file", ["-f", "nothing.toml", "list"]),
        ("unknown_variable", ["--var", "ctxx=1", "list"]),
        ("init_never_overwrites", ["init"]),
        ("quiet", ["-q"]),
    ],
)
def test_a_command_prints(built: Project, name: str, words: list[str]) -> None:
    golden(name, built, *words)
    shutil.rmtree(built.folder / "empty", ignore_errors=True)


def test_the_first_build_prints(tmp_path: Path) -> None:
    project = make(tmp_path)
    golden("build_first", project, "-j", "1")
    golden("build_second", project)


def test_a_model_without_a_default_row_is_said_when_it_comes(tmp_path: Path) -> None:
    project = make(tmp_path)
    rows = '[model.hot]\nfrom = "base"\n[model.hot.matrix]\ntemperature = [0.1]\n'
    project.write("ModelBuild.toml", TOML + rows)
    assert run(project, "base")[0] == 0
    golden("build_without_a_default_row", project, "hot")
    assert "no row of" not in run(project, "list", "hot")[2]
    golden("check_without_a_default_row", project, "check", "hot")
    project.write("ModelBuild.toml", TOML + rows.replace("0.1", "0.1, 0.8"))
    assert "no row of" not in run(project, "hot")[2]


def test_what_a_build_would_do_to_names_is_said_before_it(tmp_path: Path) -> None:
    project = make(tmp_path)
    project.write("one/Modelfile", "FROM ../weights\n")
    assert run(project, "-f", "one/Modelfile", "-q", "q8_0")[0] == 0
    golden("build_without_q", project, "-f", "one/Modelfile", "-n")
    golden("check_differs_in_case", project, "-f", "one/Modelfile", "-t", "One", "check")


def test_an_edit_is_explained_before_and_while_it_is_built(project: Project) -> None:
    project.write("models/chat/Modelfile", CHAT.replace("a test", "another test"))
    golden("list_changed", project, "list", "chat")
    golden("show_changed", project, "show", "chat")
    golden("dry_run_edit", project, "-n")
    golden("explain_edit", project, "explain", "chat")
    golden("explain_edit_json", project, "--json", "explain", "chat")
    golden("build_explained", project, "--explain")
    golden("explain_done", project, "explain", "chat")


def test_a_changed_file_is_explained_by_its_name(project: Project) -> None:
    path = project.folder / "weights" / "config.json"
    path.write_text(path.read_text().replace("10000.0", "20000.0") + "\n")
    old(path)
    golden("explain_file", project, "explain", "base:q8_0")


def test_clean_removes_what_the_project_wrote_and_nothing_else(project: Project) -> None:
    out = project.folder / "out"
    foreign = out / "manifests" / "registry.ollama.ai" / "library" / "mine" / "latest"
    foreign.parent.mkdir(parents=True)
    foreign.write_text('{"layers": [], "config": {"digest": "sha256:00"}}')
    golden("clean", project, "clean")
    assert [path for path in out.rglob("*") if path.is_file()] == [foreign]
    golden("clean_again", project, "clean")


def test_clean_stale_removes_names_no_longer_declared(project: Project) -> None:
    run(project)
    project.write("ModelBuild.toml", TOML.replace('["q8_0", "q4_K_M"]', '["q4_K_M"]'))
    golden("clean_stale_dry_run", project, "clean", "--stale", "--dry-run")
    golden("clean_stale", project, "clean", "--stale")
    library = project.folder / "out" / "manifests" / "registry.ollama.ai" / "library"
    names = {path.relative_to(library).as_posix() for path in library.rglob("*") if path.is_file()}
    assert names == {"base/q4_K_M", "base/latest", "chat/latest"}


def test_clean_cache_empties_the_cache_and_forgets_nothing_it_wrote(project: Project) -> None:
    run(project)
    before = {path: path.read_bytes() for path in (project.folder / "out").rglob("*") if path.is_file()}
    golden("clean_cache", project, "clean", "--cache")
    assert [path for path in (project.cache / "blobs").iterdir() if path.is_file()] == []
    code, out, _ = run(project, "clean", "-n")
    assert code == 0 and out.count("would remove") == 4
    code, _, err = run(project)
    assert code == 0 and "cached" not in err.splitlines()[-1]
    assert {path: path.read_bytes() for path in (project.folder / "out").rglob("*") if path.is_file()} == before


def test_what_nothing_needs_is_removed_from_the_cache(tmp_path: Path) -> None:
    project = make(tmp_path)
    assert run(project)[0] == 0
    golden("gc_all_needed", project, "gc")
    project.write("ModelBuild.toml", TOML.replace('["q8_0", "q4_K_M"]', '["q4_K_M"]'))
    run(project, "clean", "--stale")
    golden("gc_too_young", project, "gc")
    golden("gc_would", project, "gc", "-n", "--older-than", "0d")
    golden("gc", project, "gc", "--older-than", "0d")
    golden("gc_above", project, "gc", "--max-size", "10kB")
    golden("du_after_gc", project, "du")


def test_a_damaged_blob_is_told_of_and_made_again(tmp_path: Path) -> None:
    project = make(tmp_path)
    assert run(project)[0] == 0
    blob = max((project.folder / "out/blobs").iterdir(), key=lambda path: path.stat().st_size)
    with blob.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\xa5")
    golden("verify_damaged_dry_run", project, "verify", "-n")
    golden("verify_damaged", project, "verify")
    golden("verify_missing", project, "verify")
    assert run(project)[0] == 0
    golden("verify_rebuild", project, "verify", "--rebuild", "3")


def test_an_installed_model_gets_another_name_and_is_removed(project: Project) -> None:
    golden("cp", project, "cp", "chat", "me/chat:v1")
    golden("cp_again", project, "cp", "chat", "me/chat:v1")
    golden("cp_taken", project, "cp", "base", "me/chat:v1")
    golden("cp_case", project, "cp", "chat", "Chat")
    golden("cp_reserved", project, "cp", "chat", "me/chat:cloud")
    golden("cp_unknown", project, "cp", "chatt", "me/chat:v1")
    golden("rm_unknown", project, "rm", "me/chat:v1", "chatt")
    golden("rm_no_match", project, "rm", "chat*x")
    golden("rm_dry_run", project, "rm", "-n", "me/chat:v1", "base*")
    before = project.tree(project.folder / "out")
    golden("rm", project, "rm", "me/chat:v1", "base*", "chat", "Chat")
    assert len(before) > 9 and project.tree(project.folder / "out") == {}
    golden("rm_json", project, "--json", "rm", "chat")


def test_the_models_folder_is_listed(project: Project) -> None:
    manifests = project.folder / "out/manifests"
    (manifests / "registry.ollama.ai/library/chat/v2").write_text("{")
    for path in manifests.glob("*/*/*/*"):
        os.utime(path, (0, 0))
    golden("list_installed", project, "list", "--installed", TZ="UTC")
    golden("list_installed_json", project, "list", "--installed", "--json", "base*", TZ="UTC")
    golden("rm_beside_damage", project, "rm", "base*")


def test_init_writes_a_project_that_builds(tmp_path: Path) -> None:
    project = Project(tmp_path / "My Models")
    project.write("chat/Modelfile", "FROM ../weights\nSYSTEM You are here.\n")
    project.write("chat/terse.Modelfile", "FROM ../weights\nSYSTEM Be brief.\n")
    project.checkpoint()
    project.checkpoint("other/Tiny One")
    project.write("other/lora/adapter_model.safetensors", "")
    project.write("notes.gguf", "not one")
    golden("init", project, "init")
    golden("init_list", project, "list")
    code, _, err = run(project, "-q")
    assert (code, err) == (0, "")


def test_init_names_modelfiles_apart(tmp_path: Path) -> None:
    project = Project(tmp_path / "mono")
    for place in ("a/chat", "b/chat"):
        project.write(f"{place}/Modelfile", "FROM ../../weights\n")
    project.checkpoint()
    assert run(project, "init")[0] == 0
    code, out, err = run(project, "list", "--json")
    assert (code, err) == (0, "")
    assert [row["name"] for row in json.loads(out)] == ["a-chat:latest", "b-chat:latest"]


def test_init_names_modelfiles_whose_folders_are_no_names(tmp_path: Path) -> None:
    project = Project(tmp_path / "mono")
    for place in ("my chat", "Ünï", "plain", 'x "y"'):
        project.write(f"{place}/Modelfile", "FROM ../weights\n")
    project.checkpoint()
    assert run(project, "init")[0] == 0
    code, out, err = run(project, "list", "--json")
    assert (code, err) == (0, "")
    names = {"my-chat:latest", "uni:latest", "plain:latest", "x-y:latest"}
    assert {row["name"] for row in json.loads(out)} == names


def test_init_leaves_out_what_cannot_be_read_and_says_why(tmp_path: Path) -> None:
    project = Project(tmp_path / "shop")
    project.write("shop-chat/Modelfile", "NAME shop-chat\nARCH transformer\nMODEL *.safetensors\n")
    project.write("good/Modelfile", "FROM .\nSYSTEM Be brief.\n")
    project.write("later/Modelfile", "FROM nowhere:1b\n")
    for name in ("good", "shop-chat"):
        project.checkpoint(name, layers=1)
    golden("init_left_out", project, "init")
    code, out, _ = run(project, "list", "--json")
    assert (code, [row["name"] for row in json.loads(out)]) == (0, ["shop-chat:latest", "good:latest", "later:latest"])
    assert run(project, "-k", "-q", "--offline")[0] == 1
    assert {row["label"]: row["built"] for row in json.loads(run(project, "list", "--json")[1])} == {
        "shop-chat": "yes", "good": "yes", "later": "not pulled",
    }  # fmt: skip
    (project.folder / "ModelBuild.toml").unlink()
    left = json.loads(run(project, "init", "--json")[1])["left_out"]
    assert [each["path"] for each in left] == ["shop-chat/Modelfile"]


def test_init_leaves_out_what_modelbuild_wrote(tmp_path: Path) -> None:
    project = Project(tmp_path / "shop")
    project.checkpoint("weights", layers=1)
    project.write("chat/Modelfile", "FROM ../weights\nSYSTEM Hi.\n")
    for words in (("./weights", "-o", "support.gguf"), ("-f", "chat/Modelfile", "export", "chat", "out")):
        assert run(project, *words)[0] == 0
    golden("init_written", project, "init")
    assert [row["label"] for row in json.loads(run(project, "list", "--json")[1])] == ["chat"]
    (project.folder / "ModelBuild.toml").unlink()
    with open(project.folder / "out/Modelfile", "a") as file:
        file.write("PARAMETER seed 1\n")
    found = json.loads(run(project, "init", "--json")[1])
    assert found["written"] == ["out/chat.gguf", "support.gguf"]
    assert found["modelfiles"] == ["chat/Modelfile", "out/Modelfile"]
    (project.folder / "ModelBuild.toml").unlink()
    code, _, err = run(project, "-C", "out", "init")
    assert code == 0 and "left out what modelbuild wrote: chat.gguf" in err
    shutil.rmtree(project.cache)
    (project.folder / "out/ModelBuild.toml").unlink()
    assert json.loads(run(project, "init", "--json")[1])["written"] == []


def test_init_where_all_was_written_by_modelbuild(tmp_path: Path) -> None:
    project = Project(tmp_path / "shop")
    project.checkpoint("weights", layers=1)
    assert run(project, "./weights", "-o", "files/support.gguf")[0] == 0
    code, out, err = run(project, "-C", "files", "init")
    assert (code, out) == (2, "")
    assert "no Modelfiles and no weights here but what modelbuild wrote: support.gguf" in err
    assert "hint  `modelbuild -C files ./support.gguf` builds a model of it; or put a Modelfile" in err
    assert run(project, "-C", "files", "./support.gguf")[0] == 0


def test_init_of_nothing_but_files_that_cannot_be_read(tmp_path: Path) -> None:
    project = Project(tmp_path / "odd")
    project.write("Modelfile", "NAME x\n")
    code, out, err = run(project, "init")
    assert (code, out) == (2, "") and "left out: unknown instruction 'NAME'" in err and "no Modelfiles" in err
    project.checkpoint()
    assert run(project, "init")[0] == 0
    assert run(project, "-q")[0] == 0


def test_init_finds_names_without_numbers(tmp_path: Path) -> None:
    project = Project(tmp_path / "odd")
    project.checkpoint("weights", layers=1)
    project.write("Chat/Modelfile", "FROM ../weights\n")
    for place in ("one/chat", "two/chat", "chat"):
        project.checkpoint(place, layers=1)
    assert run(project, "init")[0] == 0
    assert [row["model"] for row in json.loads(run(project, "list", "--json")[1])] == [
        "chat-weights",
        "one-chat",
        "two-chat",
        "Chat",
    ]


def test_init_says_how_an_adapter_is_used(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.checkpoint("base")
    shapes = {"model.layers.0.self_attn.q_proj.weight": (64, 64)}
    for name in ("one", "two"):
        adapters.write_peft(tmp_path / name, adapters.factors(shapes))
    project.write("Modelfile", "FROM ./base\nADAPTER ./one\n")
    code, _, err = run(project, "init")
    assert code == 0
    line = 'adapters = [{ path = "two", mode = "merge" }]'
    assert f"left out 1 adapter: two; add to the model that it was trained on: {line}\n" in err
    code, _, err = run(project, "-C", "two", "init")
    assert code == 2 and "only an adapter is here, and no model" in err


def test_init_in_an_empty_folder_says_what_it_looks_for(tmp_path: Path) -> None:
    golden("init_empty", Project(tmp_path), "init")


def test_a_modelfile_is_built_named_and_quantized_as_ollama_create_did(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.write("My.Modelfile", "FROM ./weights\nSYSTEM You are one.\n")
    project.checkpoint()
    golden("modelfile_build", project, "-f", "My.Modelfile", "-t", "me/mine:v1", "-q", "q4_K_M")
    rows = json.loads(run(project, "-f", "My.Modelfile", "-t", "me/mine:v1", "-q", "q4_K_M", "list", "--json")[1])
    assert [(row["name"], row["ftype"], row["built"]) for row in rows] == [("me/mine:v1", "q4_K_M", "yes")]


def test_the_schema_is_printed(built: Project) -> None:
    code, out, err = run(built, "schema")
    assert (code, err) == (0, "")
    schema = json.loads(out)
    assert schema["title"] == "ModelBuild.toml"
    assert "model" in schema["properties"]
    code, out, err = run(built, "schema", "--events")
    assert (code, err) == (0, "") and json.loads(out)["title"] == "An event of modelbuild"


def test_check_shows_every_problem_and_reads_no_weights(tmp_path: Path) -> None:
    project = make(tmp_path)
    project.checkpoint("cut")
    weights = project.folder / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    project.checkpoint("odd")
    config = project.folder / "odd" / "config.json"
    config.write_text(config.read_text().replace("LlamaForCausalLM", "LlamaForWonders"))
    more = '[model.cut]\nfrom = "./cut"\n[model.cut4]\nfrom = "./cut"\nquantize = "q8_0"\n[model.odd]\nfrom = "./odd"\n'
    project.write("ModelBuild.toml", TOML + more)
    golden("check_problems", project, "check")
    code, out, _ = run(project, "check", "--json")
    assert code == 1
    assert len(json.loads(out)["errors"]) == 2
    assert len(json.loads(out)["models"]) == 6


def test_check_tells_the_size_that_is_then_built(built: Project) -> None:
    forecast = json.loads(run(built, "check", "--json")[1])["models"]
    assert {model["name"] for model in forecast} == {"base:q8_0", "base:q4_K_M", "chat:latest"}
    for row in json.loads(run(built, "list", "--json")[1]):
        blob = built.folder / "out" / "blobs" / row["model_blob"].replace(":", "-")
        (model,) = (each for each in forecast if each["name"] == row["name"])
        assert model["model_bytes"] == blob.stat().st_size


def test_a_flattened_modelfile_builds_the_same_model(built: Project, tmp_path: Path) -> None:
    text = run(built, "show", "chat", "--modelfile")[1]
    other = Project(tmp_path)
    other.write("Modelfile", text)
    assert run(other, "-t", "flat", "--models", "m")[0] == 0

    def layers(folder: Path, name: str) -> set[tuple[str, str]]:
        manifest = json.loads((folder / "manifests/registry.ollama.ai/library" / name / "latest").read_text())
        return {(layer["mediaType"], layer["digest"]) for layer in manifest["layers"]}

    assert layers(tmp_path / "m", "flat") == layers(built.folder / "out", "chat")


def events(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


def test_json_events_have_the_promised_members(tmp_path: Path) -> None:
    project = make(tmp_path)
    code, out, err = run(project, "--json")
    assert (code, err) == (0, "")
    told = events(out)
    assert all(event["v"] == 1 for event in told)
    steps = [event for event in told if event["event"] == "step"]
    assert {"step", "kind", "state", "seconds", "digest", "targets"} <= steps[0].keys()
    assert {event["state"] for event in steps} == {"ran"}
    variants = [event for event in told if event["event"] == "variant"]
    assert {event["name"] for event in variants} == {"base:q8_0", "base:q4_K_M", "base:latest", "chat:latest"}
    rows = {row["name"]: row for row in json.loads(run(project, "list", "--json")[1])}
    assert all(rows[event["name"]]["manifest"] == event["manifest"] for event in variants if event["name"] in rows)
    assert {"name", "model", "manifest", "model_blob", "size_bytes", "ftype", "from"} <= rows["chat:latest"].keys()
    assert told[-1].keys() >= {
        *("event", "ran", "hit", "failed", "skipped", "tensors_computed", "tensors_reused", "bytes_written", "seconds")
    }
    assert told[-1]["event"] == "summary"
    assert not {event["event"] for event in told} & {"progress"}


def test_a_failed_step_is_1_and_the_summary_still_comes_last(tmp_path: Path) -> None:
    project = make(tmp_path)
    config = project.folder / "weights" / "config.json"
    config.write_text(config.read_text().replace("LlamaForCausalLM", "LlamaForWonders"))
    golden("build_failed", project)
    code, out, err = run(project, "-k", "--json")
    told = events(out)
    assert code == 1
    assert [event["event"] for event in told[-2:]] == ["error", "summary"]
    assert told[-1]["failed"] == 1
    failed = [event for event in told if event.get("state") == "failed"]
    assert "LlamaForWonders" in failed[0]["error"]
    assert err.startswith("error: weights/config.json: architecture 'LlamaForWonders'")


def test_a_wrong_project_is_2_with_every_error_placed(tmp_path: Path) -> None:
    project = make(tmp_path)
    project.write("ModelBuild.toml", TOML.replace('"q8_0", "q4', '"q8_1", "q4').replace("temperature", "temprature"))
    golden("wrong_project", project)
    (project.folder / "models" / "deep").mkdir()
    code, out, err = run(project, "-C", "models/deep", "--json")
    assert code == 2
    told = events(out)
    assert [event["event"] for event in told] == ["broken", "broken", "error", "error"]
    assert [event["label"] for event in told[:2]] == ["base", "chat"]
    assert err.startswith("error: ModelBuild.toml:")


def test_a_project_that_is_wrong_as_a_whole_is_2_for_every_command(tmp_path: Path) -> None:
    project = make(tmp_path)
    project.write("ModelBuild.toml", TOML + "[projekt]\n")
    for words in ((), ("-k",), ("base",), ("list",), ("show", "chat"), ("check",), ("graph",), ("explain",)):
        code, out, err = run(project, *words)
        assert (code, out) == (2, "") and "unknown key 'projekt'" in err


def test_an_unwritable_models_folder_is_1_and_says_what_to_do(tmp_path: Path) -> None:
    project = make(tmp_path)
    project.write("out", "a file where the folder should be")
    code, out, err = run(project)
    assert (code, out) == (1, "")
    assert err.startswith("error: out: the models folder cannot be written")


def test_an_interrupt_stops_a_build_cleanly_and_loses_nothing(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.write("ModelBuild.toml", '[model.big]\nfrom = "./weights"\nquantize = "q4_K_M"\n')
    project.checkpoint(layers=16, hidden=512, intermediate=1536)
    process = subprocess.Popen(
        project.command("--json"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout and process.stderr
    for line in process.stdout:
        if '"start"' in line and "big/model" in line:
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    if process.returncode == 0:
        pytest.skip("the build was over before the signal came")
    assert (process.returncode, err) == (130, f"interrupted; {KEPT}\n")
    if project.models.exists():  # the signal may fall into the last moments of the build
        project.check()
    project.build()
    project.check()


def test_watch_builds_on_each_change_shows_what_is_wrong_once_and_goes_on(tmp_path: Path) -> None:
    project = make(tmp_path)
    log = tmp_path / "log"  # in the project: what watch itself writes must not wake it for ever
    with log.open("w") as out:
        process = subprocess.Popen(project.command("--watch", "chat"), stdout=out, stderr=out)
    try:
        seen = after(log, 0, "Ctrl-C ends it")
        project.write("models/chat/Modelfile", CHAT.replace("a test", "another test"))
        seen = after(log, seen, "1 model built")
        assert project.blob("chat:latest", "system") == b"You are another test."
        project.write("models/chat/Modelfile", CHAT.replace("SYSTEM", "SYSTEMM"))
        seen = after(log, seen, "did you mean 'SYSTEM'?")
        time.sleep(1)
        project.write("models/chat/Modelfile", CHAT)
        after(log, seen, "1 model built")
        assert project.blob("chat:latest", "system") == b"You are a test."
        text = log.read_text()
        assert (text.count("error:"), text.count("Ctrl-C"), text.count("nothing to do")) == (1, 1, 0)
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130


def after(log: Path, seen: int, text: str) -> int:
    """Wait until a text has been logged behind `seen`; returns where it ends."""
    limit = time.monotonic() + 60
    while time.monotonic() < limit:
        at = log.read_text().find(text, seen)
        if at >= 0:
            return at + len(text)
        time.sleep(0.05)
    raise AssertionError(f"{text!r} was not logged:\n{log.read_text()}")


def test_a_reader_that_goes_away_is_no_error(built: Project) -> None:
    command = (
        f"'{sys.executable}' -m modelbuild -C '{built.folder}' --cache '{built.cache}' graph --format json | head -c 5"
    )
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr == ""
    assert done.stdout == '{\n  "'


def complete(project: Project, *words: str) -> list[str]:
    """What a shell offers for the last word."""
    done = ask(project, *words, _MODELBUILD_COMPLETE="zsh_complete")
    assert (done.returncode, done.stderr) == (0, "")
    return [line.partition(",")[2].partition("\t")[0] for line in done.stdout.splitlines()]


def ask(project: Project, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "modelbuild", *words],
        cwd=project.folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "MODELBUILD_CACHE": str(project.cache), **env},
    )


def test_commands_and_targets_complete(built: Project) -> None:
    assert complete(built, "c") == ["cache", "check", "clean", "cp", "chat", "chat:latest"]
    assert complete(built, "show", "base:") == ["base:latest", "base:q4_K_M", "base:q8_0"]
    assert complete(built, "-k", "al") == ["all"]
    assert complete(built, "build", "chat", "ba")[0] == "base"
    assert complete(built, "--quantize", "q4_K_M", "graph", "--format", "") == ["text", "dot", "mermaid", "json"]
    assert complete(built, "--quantize", "Q4_k_m") == ["q4_K_M"]
    assert "--dry-run" in complete(built, "clean", "--")
    assert complete(built, "ver") == ["verify"]
    assert complete(built, "gc", "--older-than", "3") == ["30d"]
    assert "--max-size" in complete(built, "gc", "--m")
    assert "--rebuild" in complete(built, "verify", "--re")
    assert complete(built, "-C", "/nowhere", "show", "x") == []
    assert complete(built, "--vers") == ["--version"]
    assert complete(built, "--version") == ["--version"]


def test_the_completion_script_is_printed(built: Project) -> None:
    for shell in ("bash", "zsh", "fish"):
        done = ask(built, _MODELBUILD_COMPLETE=f"{shell}_source")
        assert done.returncode == 0
        assert f"{shell}_complete" in done.stdout
    assert ask(built, _MODELBUILD_COMPLETE="tcsh_source").returncode == 1


def test_init_gives_models_the_projectors_and_drafts_beside_them(tmp_path: Path) -> None:
    project = Project(tmp_path)
    for name in (
        "q35.gguf",
        "q35-draft.gguf",
        "other-Q8_0.gguf",
        "mtp-other-Q8_0.gguf",
        "one/m.gguf",
        "two-draft.gguf",
    ):
        project.write(name, "").write_bytes(gguf_file("model"))
    for name in ("q35-mmproj.gguf", "mmproj-Other-F16.gguf", "one/mmproj.gguf", "mmproj-else.gguf"):
        project.write(name, "").write_bytes(gguf_file("mmproj"))
    _, _, err = run(project, "init")
    models = tomllib.loads((tmp_path / "ModelBuild.toml").read_text())["model"]
    assert models == {
        "q35": {"from": "./q35.gguf", "projector": "./q35-mmproj.gguf", "draft": "./q35-draft.gguf"},
        "other-q8_0": {
            "from": "./other-Q8_0.gguf", "projector": "./mmproj-Other-F16.gguf", "draft": "./mtp-other-Q8_0.gguf",
        },
        "m": {"from": "./one/m.gguf", "projector": "./one/mmproj.gguf"},
        "two-draft": {"from": "./two-draft.gguf"},
    }  # fmt: skip
    assert "left out 1 projector: mmproj-else.gguf" in err
