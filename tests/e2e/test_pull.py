"""`modelbuild pull` as users run it: what it prints, and that no death of it ever leaves a wrong byte."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from modelbuild.ollama.manifest import MODEL, SYSTEM, TEMPLATE
from tests.e2e.project import Project
from tests.registry import certificates
from tests.registry.standin import Asked, Reply, Standin, digest, ranged

GOLDEN = Path(__file__).parents[1] / "golden" / "cli"
WEIGHTS = random.Random(3).randbytes(3_000_000)
LAYERS = [(MODEL, WEIGHTS), (TEMPLATE, b"{{ .Prompt }}"), (SYSTEM, b"be kind")]


@pytest.fixture
def registry() -> Iterator[Standin]:
    with Standin() as made:
        yield made


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def told(project: Project, registry: Standin, *words: str, code: int = 0) -> str:
    """What a pull prints, with what differs from run to run replaced."""
    out = project.run("pull", *words, code=code)
    text = f"{out}{project.errors}".replace(registry.host, "HOST").replace(str(project.folder), "FOLDER")
    text = re.sub(r"(?<=\()?\d+\.\d\d s, [\d.]+ [kMG]?B/s", "TIME, RATE", text)
    text = re.sub(r"\d+\.\d\d s", "TIME", text)
    return re.sub(r'"seconds": [\d.]+', '"seconds": 0', text)


def golden(name: str, text: str) -> None:
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


def is_whole(project: Project, registry: Standin) -> bool:
    """Whether the model is installed. Fails where anything is that must not be."""
    blobs, manifests = project.models / "blobs", project.models / "manifests"
    for path in blobs.iterdir() if blobs.is_dir() else ():
        assert path.name == "sha256-" + hashlib.sha256(path.read_bytes()).hexdigest()
    found = [path for path in manifests.rglob("*") if path.is_file()] if manifests.is_dir() else []
    for path in found:
        layers = json.loads(path.read_bytes())
        assert digest(path.read_bytes()) in "".join(registry.manifests)
        assert all(
            (blobs / each["digest"].replace(":", "-")).exists() for each in [layers["config"], *layers["layers"]]
        )
    return bool(found)


def test_what_is_printed(project: Project, registry: Standin) -> None:
    registry.add("library/m", LAYERS)
    registry.add("library/m", [*LAYERS[:2], (SYSTEM, b"be brief")], "v2")
    name = f"{registry.host}/library/m"
    text = told(project, registry, name)
    text += told(project, registry, name, f"{name}:v2")
    text += told(project, registry, name, f"{registry.host}/library/unknown", code=1)
    text += told(project, registry, name, "a b", code=2)
    golden("pull.txt", text)
    golden("pull_json.txt", told(project, registry, "--json", f"{name}:v2", f"{registry.host}/library/unknown", code=1))
    assert is_whole(project, registry)


def test_a_name_that_differs_only_in_case_is_said(project: Project, registry: Standin) -> None:
    registry.add("library/m", LAYERS)
    registry.add("library/M", LAYERS)
    for name, is_told in (("m", False), ("M", True), ("M", False)):
        project.run("pull", f"{registry.host}/library/{name}")
        assert ("only in case: to Ollama they are one model" in project.errors) is is_told


def test_the_models_folder_of_the_project_is_the_place(project: Project, registry: Standin) -> None:
    registry.add("library/m", LAYERS)
    project.write("ModelBuild.toml", '[project]\nmodels = "out"\n[model.chat]\nfrom = "nothing-here"\n')
    words = project.command("pull", f"{registry.host}/library/m")
    at = words.index("--models")
    done = subprocess.run([*words[:at], *words[at + 2 :]], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert (project.folder / "out/manifests" / registry.host / "library/m/latest").is_file()


def test_a_certificate_is_named_and_a_missing_one_is_said(project: Project, tmp_path: Path) -> None:
    file, context = certificates.make(tmp_path)
    with Standin(tls=context) as registry:
        registry.add("library/m", LAYERS)
        project.run("pull", "--ca-file", str(file), f"{registry.host}/library/m")
        assert is_whole(project, registry)
        project.run("pull", "--ca-file", "missing.pem", f"{registry.host}/library/m", code=2)
        assert "missing.pem: cannot be read: no such file" in project.errors


def test_a_rate_is_kept(project: Project, registry: Standin) -> None:
    registry.add("library/m", LAYERS)
    begun = time.monotonic()
    project.run("pull", "--limit-rate", "6MB", f"{registry.host}/library/m")
    assert time.monotonic() - begun >= 0.25


def test_a_name_leads_nowhere_else(project: Project, registry: Standin) -> None:
    project.run("pull", f"{registry.host}/../../../etc/x", code=2)
    assert "invalid model name" in project.errors and registry.asked == []
    assert not project.models.exists()


def test_an_interrupt_keeps_what_came(project: Project, registry: Standin) -> None:
    registry.add("library/m", LAYERS)
    processes: list[subprocess.Popen[str]] = []

    def interrupted(asked: Asked) -> Reply:
        def pieces() -> Iterable[bytes]:
            yield WEIGHTS[:2_000_000]
            (path,) = (project.models / ".modelbuild").glob(f"*{digest(WEIGHTS)[7:]}")
            while not path.stat().st_size and processes[0].poll() is None:
                time.sleep(0.01)
            processes[0].send_signal(signal.SIGINT)
            processes[0].wait(60)

        return Reply(200, pieces(), length=len(WEIGHTS))

    registry.on("GET", digest(WEIGHTS), interrupted, last=False)
    words = project.command("pull", f"{registry.host}/library/m")
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    processes.append(process)
    _, errors = process.communicate(timeout=120)
    assert (
        process.returncode == 130 and "interrupted; the next pull goes on with" in errors and "Traceback" not in errors
    )
    assert not is_whole(project, registry)
    before = len(registry.asked)
    told(project, registry, f"{registry.host}/library/m")
    (first, _) = next(asked.range for asked in registry.asked[before:] if digest(WEIGHTS) in asked.path) or (0, 0)
    assert 0 < first <= 2_000_000
    assert is_whole(project, registry)


def killed(project: Project, registry: Standin, chance: random.Random) -> None:
    """Run a pull, and kill it when it has got some number of bytes, or somewhat later."""
    at, pause = chance.randrange(len(WEIGHTS) + 100_000), chance.choice([0.0, 0.0, chance.random() * 0.05])
    processes: list[subprocess.Popen[bytes]] = []
    sent = 0

    def counted(asked: Asked) -> Reply:
        def pieces(data: bytes) -> Iterable[bytes]:
            nonlocal sent
            for start in range(0, len(data), 1 << 16):
                if sent >= at:
                    time.sleep(pause)
                    processes[0].kill()
                yield data[start : start + (1 << 16)]
                sent += 1 << 16

        reply = ranged(asked, registry.blobs[asked.path.rpartition("/")[2]])
        assert isinstance(reply.body, bytes)
        return Reply(reply.status, pieces(reply.body), reply.headers, len(reply.body))

    registry.script[:] = []
    registry.on("GET", "/blobs/", counted)
    processes.append(subprocess.Popen(project.command("pull", f"{registry.host}/library/m"), stderr=subprocess.DEVNULL))
    time.sleep(chance.choice([0.0, 0.0, 0.0, 0.3]))
    processes[0].wait(120)
    registry.script[:] = []


def kill_often(project: Project, registry: Standin, times: int, seed: int) -> None:
    chance = random.Random(seed)
    registry.add("library/m", LAYERS)
    for _ in range(times):
        killed(project, registry, chance)
        if is_whole(project, registry):
            # It was done before it died: begin anew, sometimes with what a damaged disk would leave.
            for path in [*project.models.rglob("*")]:
                if path.is_file():
                    path.unlink()
    before = len(registry.asked)
    project.run("pull", f"{registry.host}/library/m")
    assert is_whole(project, registry)
    assert len(registry.asked) > before
    assert [path.name for path in sorted(project.models.iterdir())] == ["blobs", "manifests"]


def test_a_killed_pull_goes_on_and_never_installs_a_wrong_byte(project: Project, registry: Standin) -> None:
    kill_often(project, registry, 3, seed=1)


@pytest.mark.peer
def test_a_pull_that_is_killed_very_often(project: Project, registry: Standin) -> None:
    kill_often(project, registry, int(os.environ.get("MODELBUILD_KILLS", "50")), seed=2)
