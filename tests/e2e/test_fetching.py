"""FROM a model of a registry: fetched by the build, pinned, and used offline from then on."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelbuild.digest import sha256
from modelbuild.ollama import manifest as media
from modelbuild.ollama.manifest import params_blob
from modelbuild.registry import machine
from tests.e2e.in_process import InProcess
from tests.plan.test_plan import gguf_file
from tests.projects import check_golden
from tests.registry import certificates
from tests.registry.standin import Asked, Reply, Standin

FABLE = Path(__file__).parents[2] / "examples/import/fable.gguf"
CONFIG = media.ConfigV2("gguf", "llama", ["llama"], "64", "F32").encode()


@pytest.fixture
def registry() -> Iterator[Standin]:
    with Standin() as standin:
        yield standin


def serve(registry: Standin, system: str = "One.", model: bytes | None = None) -> str:
    """Add a model to a registry, or move its tag; returns the manifest's digest."""
    layers = [
        (media.MODEL, model or gguf_file()),
        (media.SYSTEM, system.encode()),
        (media.PARAMS, params_blob({"top_k": 3})),
    ]
    entries = [
        {"mediaType": kind, "digest": registry.put(data), "size": len(data)}
        for kind, data in [(media.CONFIG, CONFIG), *layers]
    ]
    value = {"schemaVersion": 2, "mediaType": media.MANIFEST, "config": entries[0], "layers": entries[1:]}
    return sha256(registry.put_manifest("library/base", json.dumps(value).encode()))


class Fetching(InProcess):
    """A project of one model, FROM one of a registry."""

    def __init__(self, folder: Path, registry: Standin) -> None:
        super().__init__(folder)
        self.registry = registry
        self.base = f"{registry.host}/library/base"
        self.write("ModelBuild.toml", f'[model.chat]\nfrom = "{self.base}"\nsystem = "Hello."\n')

    @property
    def lock(self) -> str:
        return (self.folder / "ModelBuild.lock").read_text()

    def run(self, *words: str, code: int | None = 0, **places: Path) -> str:
        self.registry.asked.clear()
        return super().run(*words, code=code, **places)

    @property
    def asked(self) -> list[str]:
        return self.registry.paths()

    def remove(self, *patterns: str) -> None:
        """Remove files of the models folder, as `ollama rm` does."""
        for pattern in patterns:
            found = list(self.models.glob(pattern))
            assert found, pattern
            for path in found:
                path.unlink() if path.is_file() else shutil.rmtree(path)


@pytest.fixture
def project(tmp_path: Path, registry: Standin) -> Fetching:
    return Fetching(tmp_path / "project", registry)


def test_a_base_is_fetched_once_pinned_and_used_offline_from_then_on(project: Fetching) -> None:
    digest = serve(project.registry)
    project.run()
    assert project.lock.endswith(f'[models]\n"{project.base}:latest" = "{digest}"\n')
    assert [path.rpartition("/")[0].rpartition("/")[2] for path in project.asked] == ["manifests", *["blobs"] * 4]
    assert project.manifest("chat:latest")["layers"][0]["from"] == f"{project.base}:latest"
    project.check()
    project.run()
    assert "nothing to do" in project.errors and project.asked == []
    project.write("ModelBuild.toml", f'[model.chat]\nfrom = "{project.base}"\nsystem = "Bye."\n')
    project.run("--offline", "--locked")
    assert project.blob("chat:latest", "system") == b"Bye." and project.asked == []


def test_a_private_root_in_certs_d_is_trusted_by_builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "CERTS", (str(tmp_path / "certs.d"),))
    file, context = certificates.make(tmp_path)
    with Standin(tls=context) as registry:
        folder = tmp_path / "certs.d" / registry.host
        folder.mkdir(parents=True)
        project = Fetching(tmp_path / "project", registry)
        serve(registry)
        (folder / "ca.crt").write_text("wrong")
        project.run(code=1)
        assert "contains no certificate in PEM format" in project.errors and str(folder / "ca.crt") in project.errors
        (folder / "ca.crt").write_bytes(file.read_bytes())
        project.run()
        project.check()
        assert project.lock.count(registry.host) == 1


def test_no_other_command_downloads(project: Fetching) -> None:
    serve(project.registry)
    assert "pull     127" in project.run("-n")
    assert "1 model needs what is not pulled yet" in project.errors
    assert json.loads(project.run("list", "--json"))[0]["built"] == "not pulled"
    project.run("check")
    assert "not pulled yet: 127" in project.run("graph")
    project.run("show", "chat", code=2)
    assert "is not pulled yet" in project.errors
    project.run("explain")
    assert project.asked == [] and not project.models.exists() and not (project.folder / "ModelBuild.lock").exists()
    # What is pulled meanwhile is noticed, and so is what is removed again.
    project.run("pull", project.base)
    assert json.loads(project.run("list", "--json"))[0]["built"] == "no" and project.asked == []
    project.remove("manifests/127*")
    assert json.loads(project.run("list", "--json"))[0]["built"] == "not pulled"


def test_a_moved_tag_changes_nothing_until_it_is_updated(project: Fetching) -> None:
    first = serve(project.registry)
    project.run()
    before = project.tree()
    second = serve(project.registry, system="Two.")
    project.run("--force")
    assert project.tree() == before
    assert project.run("update") == f"{project.base}:latest  {first[7:19]} -> {second[7:19]}\n"
    assert second in project.lock and len(project.asked) == 1
    assert project.run("-n").startswith("pull     ")
    project.run("explain")
    assert "nothing to rebuild" not in project.errors and "what is not pulled yet" in project.errors
    project.run()
    assert second == sha256((project.models / f"manifests/{project.base}/latest").read_bytes())
    project.run("update", project.base)
    assert "nothing moved" in project.errors


def test_a_tag_that_moved_in_the_models_folder_changes_nothing(project: Fetching, tmp_path: Path) -> None:
    first = serve(project.registry)
    project.write("ModelBuild.toml", f'[model.chat]\nfrom = "{project.base}"\n')
    project.run()
    built = project.manifest("chat:latest")
    second = serve(project.registry, system="Two.")
    other = Fetching(tmp_path / "other", project.registry)
    other.run("update")
    other.run("--models", str(project.models))
    assert second in other.lock and first in project.lock
    there = project.models / f"manifests/{project.base}/latest"
    assert second == sha256(there.read_bytes())
    # The blobs of what is pinned are here, and planning knows the rest.
    project.run("--offline", "--set", "chat.system=Three.")
    assert project.blob("chat:latest", "system") == b"Three."
    # Without them, they are pulled by the digest; what stands under the name stays.
    shutil.rmtree(project.cache)
    project.run()
    assert project.manifest("chat:latest") == built
    assert second == sha256(there.read_bytes()) and sorted(path.name for path in there.parent.iterdir())[0] == "latest"
    project.check()


def test_locked_refuses_with_the_difference(project: Fetching) -> None:
    digest = serve(project.registry)
    project.run("--locked", code=2)
    assert "ModelBuild.lock: would change, and --locked is given" in project.errors
    assert f"{project.base}:latest  is not pinned" in project.errors
    assert project.asked == [] and not project.models.exists()
    project.run()
    serve(project.registry, system="Two.")
    project.run("--locked", "update", code=2)
    assert f"{digest} -> sha256:" in project.errors and digest in project.lock
    project.run("--locked", "--force")


def test_with_keep_going_the_others_are_built(project: Fetching) -> None:
    serve(project.registry)
    nowhere = f"{project.registry.host}/library/nowhere"
    project.write("ModelBuild.toml", f'[model.a]\nfrom = "{nowhere}"\n[model.b]\nfrom = "{project.base}"\n')
    project.run(code=1)
    assert "nothing was built" in project.errors
    assert f"ModelBuild.toml:2:8: model 'a': '{nowhere}' cannot be pulled" in project.errors
    project.run("-k", code=1)
    assert project.manifest("b:latest") and "hint" in project.errors


def test_what_is_built_needs_no_base_any_more(project: Fetching) -> None:
    model = FABLE.read_bytes()
    serve(project.registry, model=model)
    project.write("ModelBuild.toml", f'[model.chat]\nfrom = "{project.base}"\nquantize = "q8_0"\nsystem = "Hello."\n')
    project.run()
    before = project.tree()
    project.remove("manifests/127*")
    project.remove(f"blobs/{sha256(model).replace(':', '-')}")
    shutil.rmtree(project.cache / "blobs")
    project.run()
    assert project.asked == []
    assert project.manifest("chat:latest") == json.loads(before["manifests/registry.ollama.ai/library/chat/latest"])
    # Other bytes need it again, by the digest that is pinned.
    serve(project.registry, system="Two.", model=model)
    project.write("ModelBuild.toml", f'[model.chat]\nfrom = "{project.base}"\nquantize = "q4_0"\nsystem = "Hello."\n')
    assert "pull     127" in project.run("-n") and project.asked == []
    project.run("--offline", code=1)
    assert "--offline is given" in project.errors and project.asked == []
    project.run()
    assert project.asked and "manifests/sha256:" in project.asked[0]


def test_a_pinned_manifest_that_is_nowhere_any_more(project: Fetching) -> None:
    first = serve(project.registry)
    project.run()
    shutil.rmtree(project.models)
    shutil.rmtree(project.cache)
    second = serve(project.registry, system="Two.")
    project.registry.on("GET", f"/manifests/{first}", Reply(404))
    project.run(code=1)
    assert "the tag moved" in project.errors
    assert first in project.errors and second in project.errors and "modelbuild" in project.errors
    assert f"update {project.base}`" in project.errors


def test_a_near_miss_of_the_project_asks_no_registry(project: Fetching) -> None:
    project.write("ModelBuild.toml", '[model.support]\nfrom = "./weights"\n[model.chat]\nfrom = "suport"\n')
    project.run(code=2)
    assert "did you mean 'support'?" in project.errors and "registry.ollama.ai/library/suport:latest" in project.errors


def test_two_builds_at_once(project: Fetching) -> None:
    serve(project.registry)
    builds = [subprocess.Popen(project.command(), stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for build in builds:
        _, errors = build.communicate(timeout=60)
        assert build.returncode == 0, errors
    project.check()
    assert project.lock.count("sha256:") == 1
    project.run("--locked")
    assert "nothing to do" in project.errors or "unchanged" in project.errors


def test_a_modelfile_alone_has_no_lock(project: Fetching) -> None:
    serve(project.registry)
    (project.folder / "ModelBuild.toml").unlink()
    project.write("Modelfile", f"FROM {project.base}\n")
    project.run("-t", "mine")
    assert sorted(path.name for path in project.folder.iterdir()) == ["Modelfile", "cache", "models"]
    project.run("update", code=2)
    assert "has no lock" in project.errors


def test_a_lock_that_was_edited_is_noticed(project: Fetching) -> None:
    first = serve(project.registry)
    project.run()
    project.run()
    path = project.folder / "ModelBuild.lock"
    path.write_text(project.lock.replace(first, "no digest"))
    project.run(code=2)
    assert "ModelBuild.lock:6:" in project.errors and "expected a digest" in project.errors
    second = serve(project.registry, system="Two.")
    path.write_text(project.lock.replace("no digest", second))
    project.write("ModelBuild.toml", f'[model.chat]\nfrom = "{project.base}"\n')
    project.run()
    assert project.blob("chat:latest", "system") == b"Two."


def test_offline_opens_no_socket(project: Fetching, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(project.registry)
    project.run()

    def refused(*words: object, **more: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr("socket.socket.connect", refused)
    project.write("ModelBuild.toml", f'[model.chat]\nfrom = "{project.base}"\n[model.other]\nfrom = "nowhere"\n')
    project.run("--offline", "-k", code=1)
    assert "'nowhere' cannot be pulled: it is not here, and --offline is given" in project.errors
    project.run("--offline", "list")
    project.run("--offline", "update", project.base)


def test_a_build_that_is_killed_while_it_pulls_is_no_trouble_for_the_next(project: Fetching) -> None:
    model = FABLE.read_bytes()
    digest, reached, go = serve(project.registry, model=model), threading.Event(), threading.Event()

    def slow(asked: Asked) -> Reply | None:
        if reached.is_set():
            return None

        def pieces() -> Iterator[bytes]:
            yield model[: len(model) // 2]
            reached.set()
            go.wait(60)

        return Reply(200, pieces(), length=len(model))

    project.registry.on("GET", f"blobs/{sha256(model)}", slow)
    build = subprocess.Popen(project.command(), stderr=subprocess.PIPE)
    assert reached.wait(60)
    build.kill()
    build.communicate()
    go.set()
    assert not (project.folder / "ModelBuild.lock").exists() and not list(project.models.glob("manifests/**/latest"))
    project.run()
    assert digest in project.lock and project.manifest("chat:latest")
    project.check()


def test_clean_leaves_what_was_pulled(project: Fetching) -> None:
    digest = serve(project.registry)
    project.run()
    project.write("ModelBuild.toml", '[model.other]\nfrom = "./x.gguf"\n')
    (project.folder / "x.gguf").write_bytes(FABLE.read_bytes())
    project.run("clean", "--stale")
    assert not (project.models / "manifests/registry.ollama.ai").exists()
    assert digest == sha256((project.models / f"manifests/{project.base}/latest").read_bytes())
    project.check()


def test_update_takes_out_pins_of_no_use_and_knows_misspelled_names(project: Fetching) -> None:
    digest = serve(project.registry)
    project.run()
    path = project.folder / "ModelBuild.lock"
    path.write_text(project.lock + f'"unused:latest" = "{digest}"\n')
    project.run("--locked")
    project.run("update", project.base.replace("base", "bsae"), code=2)
    assert f"did you mean '{project.base}'?" in project.errors
    assert json.loads(project.run("--json", "update")) == [{"name": "unused:latest", "before": digest, "after": None}]
    assert "unused" not in project.lock


def test_nothing_is_pulled_for_a_project_that_is_broken(project: Fetching) -> None:
    serve(project.registry)
    project.write("ModelBuild.toml", f'[model.chat]\nfrom = "{project.base}"\n[model.bad]\nfrom = "./nowhere"\n')
    project.run(code=2)
    assert "-k builds" not in project.errors and project.errors.count("error") == 1 and project.asked == []
    project.run("-k", code=1)
    assert project.manifest("chat:latest")


def test_what_is_said_of_fetching(project: Fetching) -> None:
    first = serve(project.registry)
    project.write(
        "ModelBuild.toml",
        f'[model.chat]\nfrom = "{project.base}"\n[model.terse]\nfrom = "chat"\nsystem = "Hm."\n'
        f'[model.lost]\nfrom = "{project.registry.host}/team/lost:v1"\n',
    )
    said: list[str] = []

    def say(*words: str) -> None:
        shown = project.run(*words, code=None)
        said.append(f"$ modelbuild {' '.join(words)}\n{shown}--- stderr\n{project.errors}")

    for words in (["-n"], ["list"], ["check"], ["graph"], ["show", "terse"], ["--locked"], [], ["--offline", "lost"]):
        say(*words)
    serve(project.registry, system="Two.")
    for words in (["--locked", "update", project.base], ["update"], ["update", "chat"]):
        say(*words)
    project.registry.on("GET", f"manifests/{first}", Reply(404))
    lock = project.folder / "ModelBuild.lock"
    lock.write_text(re.sub("sha256:[0-9a-f]+", first, lock.read_text()))
    shutil.rmtree(project.models)
    shutil.rmtree(project.cache)
    say("chat")
    text = "\n".join(said).replace(project.registry.host, "HOST").replace(str(project.folder), "PROJECT")
    check_golden("fetching", re.sub(r"\([0-9.]+ s", "(TIME", text))
