"""`status`, `log` and `show --all`: what they print of one project as it goes through a few builds."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.project import Project
from tests.e2e.test_commands import CHAT, TOML, golden, make, run


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make(tmp_path_factory.mktemp("status"))


def test_a_project_before_and_after_its_builds(project: Project) -> None:
    golden("status_first", project, "status")
    golden("log_none", project, "log")
    assert run(project, "-j", "1")[0] == 0
    golden("status_built", project, "status")
    project.write("models/chat/Modelfile", CHAT.replace("a test", "another"))
    more = '[model.bad]\nfrom = "./none"\n[model.far]\nfrom = "llama3.2"\n'
    project.write("ModelBuild.toml", TOML.replace('"q8_0", ', '"q6_K", ') + more)
    golden("status_changed", project, "status")
    assert run(project, "-k", "--offline", "chat", "bad")[0] == 1
    code, out, _ = run(project, "log")
    rows = [re.sub(r" +", " ", line) for line in out.splitlines()]
    assert code == 0 and rows[0] == "BEGAN TOOK STEPS RESULT" and len(rows) == 3
    assert rows[1].endswith("s 2 run, 8 cached built chat")
    assert rows[2].endswith("s 16 run built base:q8_0, base:q4_K_M, chat")
    project.write("ModelBuild.toml", TOML)
    assert len(run(project, "log", "-n", "1")[1].splitlines()) == 2
    assert len(run(project, "log", "base")[1].splitlines()) == 2
    golden("log_unknown", project, "log", "nope")
    records = json.loads(run(project, "log", "--json")[1])
    assert [each["changed"] for each in records] == [["chat"], ["base:q8_0", "base:q4_K_M", "chat"]]
    assert records[0]["targets"] == ["chat", "bad"] and records[0]["options"] == ["--keep-going"]
    assert "asked for  --keep-going chat bad" in run(project, "-v", "log")[1]
    assert json.loads(run(project, "status", "--json")[1])["last_build"] == records[0]


def test_all_of_a_project_is_shown_as_it_is_resolved(project: Project) -> None:
    code, out, _ = run(project, "show", "--all", "--json")
    found = json.loads(out)
    assert code == 0 and list(found) == ["project", "models", "targets", "variants", "broken"]
    assert [each["label"] for each in found["variants"]] == ["base:q8_0", "base:q4_K_M", "chat"]
    assert found["targets"]["all"] == ["base:q4_K_M", "base:q8_0", "chat"]
    one = json.loads(run(project, "show", "chat", "--json")[1])
    assert found["variants"][2] == one
    text = run(project, "show", "--all", "base")[1]
    assert text.startswith("base:q8_0\nmodel") and "\n\nbase:q4_K_M\nmodel" in text
    assert "cannot be used together" in run(project, "show", "--all", "--modelfile")[2]


@pytest.mark.parametrize("command", ["status", "log"])
def test_they_load_no_numpy(project: Project, command: str, tmp_path: Path) -> None:
    script = "import sys; from modelbuild.cli.main import main; main(sys.argv[1:]); print({'numpy', 'pydantic'} & {*sys.modules})"
    command_line = [sys.executable, "-c", script, *project.command(command, models=project.folder / "out")[3:]]
    # The first run plans the project, for which it is validated.
    for _ in range(2):
        done = subprocess.run(command_line, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


def test_what_is_lost_is_said_in_the_models_folder_and_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    project = make(tmp_path)
    assert run(project, "-j", "1")[0] == 0
    blob = next(path for path in (project.folder / "out" / "blobs").iterdir() if b"a test" in path.read_bytes()[:200])
    blob.unlink()
    assert "nothing to rebuild; 1 model to install" in run(project, "status")[2]
    told = run(project, "run", "--no-build", "chat", "Hi")[2]
    assert "a blob is missing" in told and "chat`" in told and "build it: `modelbuild" in told
    assert run(project)[0] == 0
    for path in project.cache.glob("state.sqlite*"):
        path.unlink()
    assert "nothing is recorded of 3 installed models: the cache is new, or was removed" in run(project, "status")[2]
    code, out, _ = run(project, "explain")
    assert code == 0 and out.endswith("would be built because\n  nothing is recorded of how they were built\n")
    assert "never" not in out
