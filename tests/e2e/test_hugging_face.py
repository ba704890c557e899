"""FROM a repository of Hugging Face: downloaded by the build, pinned to a commit, and used offline from then on."""

from __future__ import annotations

import hashlib
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.in_process import InProcess
from tests.e2e.project import TINY
from tests.hub import Hub, files_of

pytest.importorskip("huggingface_hub", reason="weights from Hugging Face need huggingface_hub")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    project = InProcess(tmp_path_factory.mktemp("weights"))
    return files_of(project.checkpoint(**TINY))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with Hub() as found:
        monkeypatch.setenv("HF_ENDPOINT", found.url)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        monkeypatch.delenv("HF_HUB_CACHE", raising=False)
        yield found


@pytest.fixture
def project(tmp_path: Path, hub: Hub, weights: dict[str, bytes]) -> InProcess:
    hub.put("org/tiny", {**weights, "pytorch_model.bin": b"never downloaded"})
    found = InProcess(tmp_path / "project")
    found.write("ModelBuild.toml", '[model.chat]\nfrom = "hf.co/org/tiny"\n')
    return found


def lock(project: InProcess) -> str:
    return (project.folder / "ModelBuild.lock").read_text()


def test_weights_are_downloaded_once_pinned_and_used_offline_from_then_on(
    project: InProcess, hub: Hub, weights: dict[str, bytes], tmp_path: Path
) -> None:
    assert "pull     hf.co/org/tiny" in project.run("-n") and hub.asked == []
    project.run()
    commit = hub.revisions["org/tiny", "main"]
    assert lock(project).endswith(f'[checkpoints]\n"hf.co/org/tiny" = "{commit}"\n')
    assert not [path for path in hub.asked if "pytorch" in path]
    got = project.blob("chat:latest", "model")
    # What is made is what the folder of the repository's name makes.
    for name, data in weights.items():
        path = project.folder / "tiny" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    project.run("--set", "chat.from=./tiny")
    assert project.blob("chat:latest", "model") == got
    hub.asked.clear()
    project.run("--offline", "--locked")
    project.run("--offline", "--force")
    assert hub.asked == [] and project.blob("chat:latest", "model") == got


def test_a_revision_that_moved_changes_nothing_until_it_is_updated(
    project: InProcess, hub: Hub, weights: dict[str, bytes]
) -> None:
    project.run()
    first = hub.revisions["org/tiny", "main"]
    second = hub.put("org/tiny", {**weights, "README.md": b"---\nlicense: mit\n---\n"})
    project.run("--force")
    assert first in lock(project)
    assert project.run("update") == f"hf.co/org/tiny  {first[:12]} -> {second[:12]}\n"
    before = project.manifest("chat:latest")
    project.run()
    assert second in lock(project) and project.manifest("chat:latest") != before


def test_a_download_that_ended_early_goes_on(project: InProcess, hub: Hub) -> None:
    hub.fail["model.safetensors"] = 403, {}
    project.run(code=1)
    assert "'hf.co/org/tiny' cannot be pulled" in project.errors and hub.url not in project.errors
    hub.fail.clear()
    # A part of the files is no checkpoint.
    assert "pull     hf.co/org/tiny" in project.run("-n")
    project.run()
    assert project.manifest("chat:latest")


def test_weights_that_have_no_room_are_not_begun(project: InProcess, hub: Hub, tmp_path: Path) -> None:
    hub.sizes["model.safetensors"] = 1 << 60
    project.run(code=1)
    assert "no space for the weights: they need " in project.errors and " are free" in project.errors
    assert "$HF_HOME" in project.errors and str(tmp_path / "hf") in project.errors
    assert not [path for path in hub.asked if path.endswith("model.safetensors")]
    hub.sizes.clear()
    project.run()


def test_several_files_are_downloaded_at_once(project: InProcess, hub: Hub) -> None:
    both = threading.Barrier(2, timeout=30)
    met: list[str] = []

    def hold(path: str) -> None:
        if "/resolve/" in path and len(met) < 2:
            met.append(path)
            both.wait()

    hub.hold = hold
    project.run()
    assert len(met) == 2 and not both.broken


def test_bytes_that_are_not_those_of_their_digest_are_removed(
    project: InProcess, hub: Hub, weights: dict[str, bytes]
) -> None:
    data = weights["config.json"]
    for tag in ("0" * 64, "0" * 40):
        hub.tags["config.json"] = tag
        project.run(code=1)
        assert "'config.json' has other bytes than its digest says" in project.errors
    hub.tags["config.json"] = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    project.run()


def test_an_etag_leads_to_no_file_elsewhere(project: InProcess, hub: Hub, weights: dict[str, bytes]) -> None:
    before = sorted(project.folder.rglob("*"))
    hub.tags["config.json"] = "../../../../elsewhere"
    project.run(code=1)
    assert "names a file by an ETag that is no plain name: '\"../../../../elsewhere\"'" in project.errors
    assert not [path for path in project.folder.parent.rglob("elsewhere*") if path not in before]


def test_an_answer_that_cannot_be_read(project: InProcess, hub: Hub) -> None:
    hub.fail["/api/"] = 200, {}
    project.run(code=1)
    assert "Hugging Face gave an answer for 'hf.co/org/tiny' that cannot be read" in project.errors


def test_a_revision_that_is_named(project: InProcess, hub: Hub, weights: dict[str, bytes]) -> None:
    commit = hub.put("org/tiny", {**weights, "README.md": b"v1"}, "v1.0")
    project.write("ModelBuild.toml", '[model.chat]\nfrom = "hf://org/tiny@v1.0"\n')
    project.run()
    assert f'"hf.co/org/tiny@v1.0" = "{commit}"' in lock(project)


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (401, "GatedRepo", "access to 'hf.co/org/tiny' has to be granted"),
        (401, "RepoNotFound", "'hf.co/org/tiny' is not known to Hugging Face"),
        (404, "RevisionNotFound", "has no revision 'main'"),
        (418, "", "Hugging Face answered with status 418"),
    ],
)
def test_what_the_server_refuses(
    project: InProcess, hub: Hub, status: int, code: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secretsecretsecret")
    hub.fail["/api/"] = status, {"X-Error-Code": code}
    project.run(code=1)
    assert said in project.errors and "secret" not in project.errors and hub.url not in project.errors
    assert hub.tokens[-1] == "Bearer hf_secretsecretsecret"


def test_a_repository_of_gguf_files_is_a_model_of_a_registry(
    project: InProcess, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.put("org/tiny", {"tiny.Q4_K_M.gguf": b"x"})
    # hf.co itself is not asked: a proxy that is not there stands before it.
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    project.run(code=1)
    assert "the proxy does not connect to 'hf.co'" in project.errors


def test_the_variables_of_the_library_hold_for_the_program_too(project: InProcess, hub: Hub) -> None:
    done = subprocess.run(project.command(), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert any(path.startswith("/api/models/org/tiny") for path in hub.asked)


def test_the_folder_of_the_pooling_is_downloaded_by_any_name(
    project: InProcess, hub: Hub, weights: dict[str, bytes]
) -> None:
    modules = b'[{"type": "sentence_transformers.models.Pooling", "path": "modules/pool"}]'
    files = {"modules.json": modules, "modules/pool/config.json": b'{"pooling_mode_mean_tokens": true}'}
    hub.put("org/tiny", {**weights, **files})
    project.run()
    assert any("modules/pool/config.json" in path for path in hub.asked)
