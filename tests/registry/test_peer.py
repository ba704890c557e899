"""Push and pull with the registry that Docker made: what arrives is what was sent, byte for byte."""

from __future__ import annotations

import base64
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from modelbuild.digest import sha256
from modelbuild.ollama.manifest import MANIFEST, Manifest
from modelbuild.registry import ollama_key
from tests.e2e.project import Project
from tests.registry.authority import Authority
from tests.registry.docker_registry import MISSING, DockerRegistry
from tests.registry.models import Models
from tests.registry.relay import relay
from tests.registry.standin import Asked, Reply, Standin
from tests.registry.token_service import TokenService

pytestmark = [pytest.mark.peer, pytest.mark.skipif(MISSING is not None, reason=str(MISSING))]

BIG = 40 << 20
ANN = "$2y$04$wgQ2gv6rlLY8I8R35ba5b.naxcoGqWjE4P8TjdAXxRo0OocsnEERa"
"""`hunter2` by bcrypt."""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)
    return home


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project")


def models_of(project: Project) -> Models:
    """The project's models folder, with a model of its own of BIG bytes in it."""
    models = Models(project.models)
    random.seed(7)
    models.model("acme/big:v1", model=random.randbytes(1 << 20) * (BIG >> 20))
    return models


def pull_and_compare(project: Project, name: str, data: bytes, *options: str) -> None:
    """Pull a name into an empty models folder: manifest and blobs are those that were pushed."""
    empty = project.folder / f"pulled-{time.monotonic_ns()}"
    project.run("pull", name, *options, models=empty, cache=empty / "cache")
    (manifest,) = [path for path in (empty / "manifests").rglob("*") if path.is_file()]
    assert manifest.read_bytes() == data
    parsed = Manifest.parse(data)
    for layer in (parsed.config, *parsed.layers):
        blob = (empty / "blobs" / layer.digest.replace(":", "-")).read_bytes()
        assert sha256(blob) == layer.digest and len(blob) == layer.size


def manifest_of(models: Models, name: str) -> bytes:
    return (models.root / "manifests" / name).read_bytes()


BIG_NAME = "registry.ollama.ai/acme/big/v1"


def test_a_model_goes_there_and_back(project: Project, tmp_path: Path, home: Path) -> None:
    models = models_of(project)
    data = manifest_of(models, BIG_NAME)
    with DockerRegistry(tmp_path / "registry") as registry:
        name = f"{registry.host}/team/big:v1"
        project.run("push", "acme/big:v1", "--to", name)
        assert registry.get("/v2/team/big/manifests/v1", MANIFEST) == data
        assert "ollama pull" in project.errors and f"pull {name}` can" in project.errors
        pull_and_compare(project, name, data)
        before = len(registry.log())
        project.run("push", "acme/big:v1", "--to", name)
        assert "1 unchanged" in project.errors and len(registry.log()) - before <= 10
        # A variant that differs in one parameter: two small blobs at most, and a manifest.
        other = models.model(
            "acme/big:v2", model=models.path(Manifest.parse(data).layers[0].digest).read_bytes(), temperature=0.25
        )
        before = len(registry.log())
        told = json.loads(
            project.run("--json", "push", "acme/big:v2", "--to", f"{registry.host}/team/big:v2").splitlines()[-1]
        )
        assert told["bytes_sent"] < 1000 and len(registry.log()) - before <= 12
        pull_and_compare(project, f"{registry.host}/team/big:v2", other)
        # Into another repository nothing is sent at all, also by who remembers nothing, if a model of the folder tells.
        out = project.run("--json", "push", "acme/big:v2", "--to", f"{registry.host}/else/big:v2")
        assert json.loads(out.splitlines()[-1])["bytes_sent"] == 0
        models.model(
            f"{registry.host}/else/big:v2", model=models.path(Manifest.parse(data).layers[0].digest).read_bytes()
        )
        new = {"cache": project.folder / "another-cache"}
        out = project.run("--json", "push", "acme/big:v2", "--to", f"{registry.host}/third/big:v2", **new)
        assert json.loads(out.splitlines()[-1])["bytes_sent"] < 1000
        pull_and_compare(project, f"{registry.host}/third/big:v2", other)


def test_a_group_is_built_and_pushed(project: Project, tmp_path: Path, home: Path) -> None:
    project.checkpoint()
    with DockerRegistry(tmp_path / "registry") as registry:
        project.write(
            "ModelBuild.toml",
            '[model.chat]\nfrom = "./weights"\nsystem = "hi"\nmatrix.quantize = ["q8_0", "q4_K_M"]\n'
            f'push = ["{registry.host}/team/chat:${{matrix.quantize}}"]\n'
            f'[model.terse]\nfrom = "chat:q8_0"\nsystem = "be terse"\npush = ["{registry.host}/team/terse"]\n'
            '[model.plain]\nfrom = "./weights"\n[group]\nrelease = ["chat", "terse", "plain"]\n',
        )
        project.run("push", "release")
        assert "3 pushed" in project.errors and "skipped    plain" in project.errors
        assert not (project.models / "manifests/registry.ollama.ai/library/plain").exists()
        for pushed, path in (
            ("chat:q8_0", "chat/q8_0"),
            ("chat:q4_K_M", "chat/q4_K_M"),
            ("terse:latest", "terse/latest"),
        ):
            data = (project.models / "manifests/registry.ollama.ai/library" / path).read_bytes()
            pull_and_compare(project, f"{registry.host}/team/{pushed}", data)
        project.run("push", "release")
        assert "3 unchanged" in project.errors


def test_behind_a_password(project: Project, tmp_path: Path, home: Path) -> None:
    models = models_of(project)
    (tmp_path / "htpasswd").write_text(f"ann:{ANN}\n")
    auth = {"auth": {"htpasswd": {"realm": "test", "path": str(tmp_path / "htpasswd")}}}
    with DockerRegistry(tmp_path / "registry", auth) as registry:
        name = f"{registry.host}/team/big:v1"
        project.run("push", "acme/big:v1", "--to", name, code=1)
        assert "access denied" in project.errors
        login(home, registry.host, "ann:wrong")
        project.run("push", "acme/big:v1", "--to", name, code=1)
        assert "wrong" not in project.errors
        login(home, registry.host, "ann:hunter2")
        project.run("push", "acme/big:v1", "--to", name)
        pull_and_compare(project, name, manifest_of(models, BIG_NAME))


def login(home: Path, host: str, text: str) -> None:
    (home / ".docker").mkdir(exist_ok=True)
    auth = base64.b64encode(text.encode()).decode()
    (home / ".docker/config.json").write_text(json.dumps({"auths": {host: {"auth": auth}}}))


def test_with_a_certificate_of_a_private_authority(project: Project, tmp_path: Path, home: Path) -> None:
    models = models_of(project)
    authority = Authority(tmp_path / "authority")
    certificate, key = authority.server("127.0.0.1", "localhost")
    tls = {"http": {"tls": {"certificate": str(certificate), "key": str(key)}}}
    with DockerRegistry(tmp_path / "registry", tls) as registry:
        name = f"{registry.host}/team/big:v1"
        ca = ["--ca-file", str(authority.root)]
        project.run("push", "acme/big:v1", "--to", name, *ca)
        pull_and_compare(project, name, manifest_of(models, BIG_NAME), *ca)
        other = Authority(tmp_path / "other")
        project.run("push", "acme/big:v1", "--to", name, "--ca-file", str(other.root), code=1)
        assert "is not trusted" in project.errors


def jwt_registry(folder: Path, authority: Authority, service: TokenService) -> dict[str, Any]:
    """The configuration of a registry that believes a token service, whose tokens it verifies itself."""
    service.certificate, service.signing_key = authority.certificate, authority.key
    token = {
        "realm": service.url,
        "service": service.service,
        "issuer": service.issuer,
        "rootcertbundle": str(authority.root),
    }
    return {"auth": {"token": token}}


def test_with_ollamas_key_and_signed_tokens(project: Project, tmp_path: Path, home: Path) -> None:
    """The token service is reached at the registry's own host, through a proxy before both, as Ollama's protocol has it."""
    models = models_of(project)
    key = ollama_key.create()
    service = TokenService(service="ollama", keys={key.public.split()[1]: "ann"})
    with Standin() as front:
        service.url = f"{front.url}/token"
        config = jwt_registry(tmp_path, Authority(tmp_path / "authority"), service)
        with DockerRegistry(tmp_path / "registry", config) as registry:

            def behind(asked: Asked) -> Reply:
                return service(asked) if asked.path.startswith("/token") else relay(asked, registry.host, front.host)

            front.script.append(behind)
            name = f"{front.host}/team/big:v1"
            project.run("push", "acme/big:v1", "--to", name)
            pull_and_compare(project, name, manifest_of(models, BIG_NAME))
            assert {user for user, _ in service.asked} == {"ann"}
            service.keys.clear()
            project.run("push", "acme/big:v1", "--to", f"{front.host}/team/other:v1", code=1)
            assert "does not know your key" in project.errors


def test_with_a_login_and_signed_tokens_elsewhere(project: Project, tmp_path: Path, home: Path) -> None:
    models = models_of(project)
    service = TokenService(passwords={"ann": "hunter2"}, anonymous=("pull",))
    with Standin() as other:
        service.url = f"{other.url}/token"
        other.script.append(service)
        config = jwt_registry(tmp_path, Authority(tmp_path / "authority"), service)
        with DockerRegistry(tmp_path / "registry", config) as registry:
            name = f"{registry.host}/team/big:v1"
            project.run("push", "acme/big:v1", "--to", name, code=1)
            assert "access denied" in project.errors
            login(home, registry.host, "ann:hunter2")
            project.run("push", "acme/big:v1", "--to", name)
            (home / ".docker/config.json").unlink()
            pull_and_compare(project, name, manifest_of(models, BIG_NAME))


def test_killed_at_any_moment_it_is_finished_by_the_next(project: Project, tmp_path: Path, home: Path) -> None:
    models = models_of(project)
    data = manifest_of(models, BIG_NAME)
    rng = random.Random(int(os.environ.get("MODELBUILD_SEED", "11")))
    with DockerRegistry(tmp_path / "registry") as registry:
        for number in range(int(os.environ.get("MODELBUILD_KILLS", "3"))):
            name = f"{registry.host}/team/big{number}:v1"
            words = project.command("push", "acme/big:v1", "--to", name, "--limit-rate", "100MB")
            push = subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
            time.sleep(rng.uniform(0.2, 1.5))
            push.send_signal(signal.SIGKILL if number % 2 else signal.SIGINT)
            _, told = push.communicate(timeout=120)
            assert b"Traceback" not in told
            assert push.returncode in (0, 130, -signal.SIGKILL, -signal.SIGINT)
            if registry.has(f"/v2/team/big{number}/manifests/v1", MANIFEST):
                assert registry.get(f"/v2/team/big{number}/manifests/v1", MANIFEST) == data
            project.run("push", "acme/big:v1", "--to", name)
            assert registry.get(f"/v2/team/big{number}/manifests/v1", MANIFEST) == data
        pull_and_compare(project, name, data)


def test_a_registry_that_dies_in_the_middle_gets_the_rest_from_the_next_push(
    project: Project, tmp_path: Path, home: Path
) -> None:
    models = models_of(project)
    data = manifest_of(models, BIG_NAME)
    with DockerRegistry(tmp_path / "registry") as registry:
        words = project.command("push", "acme/big:v1", "--to", f"{registry.host}/team/big:v1", "--limit-rate", "20MB")
        push = subprocess.Popen(
            words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": sys.path[0]}
        )
        time.sleep(1)
    # It would go on asking for a minute: Ctrl-C is heard meanwhile.
    push.send_signal(signal.SIGINT)
    _, told = push.communicate(timeout=60)
    assert b"Traceback" not in told and push.returncode == 130
    with DockerRegistry(tmp_path / "registry") as registry:
        project.run("push", "acme/big:v1", "--to", f"{registry.host}/team/big:v1")
        assert registry.get("/v2/team/big/manifests/v1", MANIFEST) == data
