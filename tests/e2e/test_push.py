"""`push` and `whoami` as users run them, against a stand-in for a registry."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from modelbuild.cli import main
from modelbuild.registry import ollama_key
from tests.e2e.project import Project
from tests.registry.models import SMALL_MODEL, Models
from tests.registry.uploads import Reply, Uploads, digest

GOLDEN = Path(__file__).parents[1] / "golden" / "cli"

Run = Callable[..., str]


@pytest.fixture
def registry() -> Iterator[Uploads]:
    with Uploads() as registry:
        yield registry


@pytest.fixture
def project(tmp_path: Path, registry: Uploads, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Two rows and a model over one of them that are pushed, and one that has nowhere to go."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)
    monkeypatch.setattr(ollama_key, "SERVICE", str(tmp_path / "service"))
    project = Project(tmp_path / "project")
    project.checkpoint()
    project.write(
        "ModelBuild.toml",
        '[defaults]\ntemplate = "{{ .Prompt }}"\n'
        '[model.chat]\nfrom = "./weights"\nsystem = "hi"\nmatrix.quantize = ["q8_0", "q4_K_M"]\n'
        f'push = ["{registry.host}/team/chat:${{matrix.quantize}}"]\n'
        f'[model.terse]\nfrom = "chat:q8_0"\nname = "{registry.host}/team/terse"\nsystem = "be terse"\ntags = ["v1"]\n'
        '[model.plain]\nfrom = "./weights"\n[model.broken]\nfrom = "./nowhere"\n'
        '[group]\nrelease = ["chat", "terse", "plain"]\n',
    )
    return project


@pytest.fixture
def run(project: Project, registry: Uploads, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command; returns what it says, with the exit code, less what differs from run to run."""

    def run(*words: str, golden: str | None = None) -> str:
        places = ["-C", str(project.folder), "--cache", str(project.cache), "--models", str(project.models)]
        code = main.main([*places, *words])
        told = capsys.readouterr()
        text = f"$ modelbuild {' '.join(words)}\n{told.out}--- stderr\n{told.err}--- exit {code}\n"
        text = text.replace(" ".join(["modelbuild", *places]), "modelbuild").replace(registry.host, "HOST")
        text = re.sub(
            f" --(models|cache) {re.escape(str(project.folder))}/\\w+| -C {re.escape(str(project.folder))}", "", text
        )
        text = text.replace(str(project.folder.parent), "<tmp>")
        text = re.sub(r"\d+(\.\d+)? m?s\b", "# s", text)
        text = re.sub(r'"seconds": [0-9.]+', '"seconds": #', text)
        text = re.sub(r"(?<=sha256[:-])[0-9a-f]{64}", "<digest>", text)
        text = re.sub(r"AAAAC3[\w+/=]+", "<key>", text)
        if golden:
            path = GOLDEN / f"{golden}.txt"
            if os.environ.get("UPDATE_GOLDEN"):
                path.write_text(text)
            assert text == path.read_text()
        return text

    return run


def test_a_group_is_built_and_pushed(project: Project, registry: Uploads, run: Run) -> None:
    assert run("push", "release", "-n", golden="push_dry_run")
    assert registry.asked == [] and not project.models.exists()
    assert "3 models built" in run("push", "release")
    chat = project.models / "manifests/registry.ollama.ai/library/chat"
    terse = project.models / "manifests" / registry.host / "team/terse"
    for path, data in (
        ("chat/manifests/q8_0", chat / "q8_0"), ("chat/manifests/q4_K_M", chat / "q4_K_M"),
        ("terse/manifests/latest", terse / "latest"), ("terse/manifests/v1", terse / "v1"),
    ):  # fmt: skip
        assert registry.manifests[f"/v2/team/{path}"] == data.read_bytes()
    assert not (project.models / "manifests/registry.ollama.ai/library/plain").exists()
    before = len(registry.asked)
    run("chat", "terse")
    run("push", "chat", "terse", golden="push_unchanged")
    assert registry.methods()[before:] == ["HEAD"] * 4


def test_what_changed_is_built_first_and_only_that_is_sent(project: Project, registry: Uploads, run: Run) -> None:
    run("push", "terse")
    toml = project.folder / "ModelBuild.toml"
    toml.write_text(toml.read_text().replace("be terse", "be very terse"))
    told = run("push", "terse", golden="push_changed")
    assert "1 model built" in told and "13 B sent" in told


def test_what_an_earlier_push_sent_is_taken_from_there_or_sent_again(
    registry: Uploads, project: Project, run: Run
) -> None:
    Models(project.models).model("you/chat:v1")
    (project.folder / "ModelBuild.toml").unlink()
    (project.folder / ".git").mkdir()
    run("push", "you/chat:v1", "--to", f"{registry.host}/team/one")
    assert "3 blobs taken from another repository" in run("push", "you/chat:v1", "--to", f"{registry.host}/team/two")
    # The registry has lost them: they are sent, and are known to be where they are now.
    registry.held.clear()
    told = run("push", "you/chat:v1", "--to", f"{registry.host}/team/three")
    assert "sent" in told and "taken" not in told
    assert "3 blobs taken from another repository" in run("push", "you/chat:v1", "--to", f"{registry.host}/team/four")
    assert all("from=team/three" in path for path in registry.paths("POST")[-3:])


@pytest.mark.parametrize("shape", ["docker-model", "modelpack"])
def test_a_shape_is_pushed_once_and_then_costs_one_request(
    shape: str, project: Project, registry: Uploads, run: Run
) -> None:
    name = f"{registry.host}/team/{shape}:v1"
    run("chat:q8_0")
    words = ["push", "chat:q8_0", "--to", name, "--as", shape, "--split", "9"]
    told = run(*words)
    assert f"HOST/team/{shape}:v1  as {shape}, " in told and "ollama pull" not in told
    data = registry.manifests[f"/v2/team/{shape}/manifests/v1"]
    blobs = [json.loads(data)["config"], *json.loads(data)["layers"]]
    assert {(f"team/{shape}", each["digest"]) for each in blobs} <= registry.held and len(blobs) > 3
    run("export", "--as", shape, "--split", "9", "chat:q8_0", "out")
    (listed,) = json.loads((project.folder / "out/index.json").read_text())["manifests"]
    assert listed["digest"] == digest(data)
    before = len(registry.asked)
    assert "1 unchanged" in run(*words)
    assert registry.methods()[before:] == ["HEAD"]


def test_names_that_say_a_shape_are_pushed_in_it(project: Project, registry: Uploads, run: Run) -> None:
    toml = project.folder / "ModelBuild.toml"
    toml.write_text(toml.read_text().replace('/chat:${matrix.quantize}"]', '/chat:${matrix.quantize}", { to = '
        f'"{registry.host}/docker/chat:${{matrix.quantize}}", as = "docker-model" }}]'))  # fmt: skip
    run("push", "release", "-n", "--as", "docker-model", golden="push_shape_dry_run")
    out = run("--json", "push", "chat:q4_K_M").partition("\n")[2].partition("--- stderr")[0]
    events = [json.loads(line) for line in out.replace('"seconds": #', '"seconds": 0').splitlines()]
    pushes = [(each["name"], each.get("as")) for each in events if each["event"] == "push"]
    assert pushes == [("HOST/team/chat:q4_K_M", None), ("HOST/docker/chat:q4_K_M", "docker-model")]
    # The weights are in the registry already.
    taken = next(each for each in events if each.get("as"))
    assert taken["mounted"] == 1 and taken["uploaded"] < 3000


def test_json(project: Project, registry: Uploads, run: Run) -> None:
    out = run("--json", "push", "chat:q8_0").partition("\n")[2].partition("--- stderr")[0]
    events = [json.loads(line.replace('"seconds": #', '"seconds": 0')) for line in out.splitlines()]
    pushes = [each for each in events if each["event"].startswith("push")]
    assert [sorted(each) for each in pushes] == [
        ["event", "label", "manifest", "mounted", "name", "state", "uploaded", "v"],
        ["bytes_sent", "event", "pushed", "seconds", "unchanged", "v"],
    ]
    assert (pushes[0]["name"], pushes[0]["state"]) == ("HOST/team/chat:q8_0", "pushed")
    assert pushes[1]["bytes_sent"] == pushes[0]["uploaded"] > 0 and events[-1] == pushes[1]


@pytest.mark.parametrize(
    ("golden", "words"),
    [
        ("push_nowhere", ["push", "plain"]),
        ("push_to_several", ["push", "chat", "--to", "you/chat"]),
        ("push_to_library", ["push", "plain", "--to", "chat:v1"]),
        ("push_to_malformed", ["push", "plain", "--to", "you/"]),
        ("push_shape_nowhere", ["push", "chat", "--as", "modelpack"]),
        ("push_split_alone", ["push", "chat:q8_0", "--to", "r.io/a/b", "--split", "2GB"]),
        ("push_split_wrong", ["push", "chat:q8_0", "--to", "r.io/a/b", "--as", "modelpack", "--split", "2 GiB"]),
        ("push_split_of_none", ["push", "chat:q8_0", "--to", "r.io/a/b", "--as", "oci", "--split", "2GB"]),
        ("push_unknown", ["push", "chatt", "other/model:v1"]),
        ("push_broken", ["push", "broken", "chat"]),
        ("push_unreachable", ["push", "plain", "--to", "127.0.0.1:1/you/chat"]),
    ],
)
def test_an_error_says_what_to_do(project: Project, registry: Uploads, run: Run, golden: str, words: list[str]) -> None:
    run(*words, golden=golden)
    assert registry.asked == []


def test_a_name_of_the_models_folder_is_pushed_as_it_is(project: Project, registry: Uploads, run: Run) -> None:
    data = Models(project.models).model(f"{registry.host}/team/other:v2")
    assert "1 pushed" in run("push", f"{registry.host}/team/other:v2")
    assert registry.manifests["/v2/team/other/manifests/v2"] == data
    # Beside a target, and under another name.
    assert "2 pushed, 1 unchanged" in run("push", "chat", f"{registry.host}/team/other:v2", "chat:q8_0")
    assert "1 pushed" in run("push", f"{registry.host}/team/other:v2", "--to", f"{registry.host}/else/where")
    assert registry.manifests["/v2/else/where/manifests/latest"] == data


def test_no_project_is_needed(project: Project, registry: Uploads, run: Run) -> None:
    (project.folder / "ModelBuild.toml").unlink()
    (project.folder / ".git").mkdir()
    data = Models(project.models).model("you/chat:v1")
    run("push", "you/chta:v1", golden="push_no_such_name")
    run("push", "you/chat:v1", "--to", f"{registry.host}/team/chat:v1", golden="push_without_project")
    assert registry.manifests["/v2/team/chat/manifests/v1"] == data
    assert "no ModelBuild.toml" in run("push")


def test_weights_are_pushed_by_their_path(project: Project, registry: Uploads, run: Run) -> None:
    name = f"{registry.host}/team/weights:v1"
    assert "1 pushed" in run("push", "./weights", "-q", "q8_0", "--to", name)
    assert "/v2/team/weights/manifests/v1" in registry.manifests
    assert "1 unchanged" in run("-f", "weights", "-t", name, "-q", "q8_0", "push")


def test_a_damaged_blob_is_an_error_and_the_name_stays(project: Project, registry: Uploads, run: Run) -> None:
    models = Models(project.models)
    models.model("you/chat:v1")
    models.path(digest(SMALL_MODEL)).write_bytes(SMALL_MODEL[::-1])
    told = run("push", "you/chat:v1", "--to", f"{registry.host}/team/chat:v1")
    assert "this blob is damaged" in told and "exit 1" in told and registry.manifests == {}


def test_what_was_pushed_before_a_failure_is_said(project: Project, registry: Uploads, run: Run) -> None:
    registry.on("PUT", "/terse/manifests/", Reply(403, b'{"errors": [{"message": "not yours"}]}'))
    run("chat:q8_0", "terse")
    run("push", "chat:q8_0", "terse", golden="push_fails_on_the_way")


def test_the_key_is_shown_and_made(project: Project, registry: Uploads, run: Run) -> None:
    run("whoami", golden="whoami_none")
    run("whoami", "--new-key", golden="whoami_new")
    run("whoami", golden="whoami")
    run("whoami", "--new-key", golden="whoami_new_again")
    out: Any = json.loads(run("--json", "whoami").partition("\n")[2].partition("--- stderr")[0])
    assert sorted(out) == ["key", "path", "settings"]
    folder = project.folder.parent / "home/.ollama"
    assert stat.S_IMODE((folder / "id_ed25519").stat().st_mode) == 0o600
