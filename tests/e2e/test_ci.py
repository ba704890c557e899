"""The workflow of docs/ci.md: its commands, run as a runner runs them, in a clone without the weights."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.e2e.project import Project
from tests.registry.uploads import Uploads
from tests.session.test_revision import git

DOCS = Path(__file__).parents[2] / "docs" / "ci.md"
TOML = """\
[cache]
remote = "file://{share}"
[defaults]
template = "{{{{ .Prompt }}}}"
[model.chat]
from = "./weights"
system = "Hello."
push = ["{host}/team/chat:${{matrix.quantize}}"]
[model.chat.matrix]
quantize = ["q8_0", "q4_0"]
[model.terse]
from = "./weights"
quantize = "q8_0"
system = "Be terse."
push = ["{host}/team/terse"]
"""
GIT_LFS = f"""\
#!{sys.executable} -IS
# What of git-lfs the workflow and git ask for.
import hashlib, os, shutil, sys
if sys.argv[1] == "clean":
    data = sys.stdin.buffer.read()
    if not data.startswith(b"version https://git-lfs"):
        oid = hashlib.sha256(data).hexdigest()
        data = f"version https://git-lfs.github.com/spec/v1\\noid sha256:{{oid}}\\nsize {{len(data)}}\\n".encode()
    sys.stdout.buffer.write(data)
elif sys.argv[1:] == ["pull"]:
    shutil.copytree(os.environ["LARGE_FILES"], "weights", dirs_exist_ok=True)
    with open(os.environ["PULLS"], "a") as pulls:
        pulls.write("pulled\\n")
else:
    sys.exit(2)
"""


def workflow() -> dict[str, Any]:
    """The first indented block of the docs that is YAML."""
    block = re.search(r"^    name: models\n(?:    .*\n|\n)+", DOCS.read_text(), re.MULTILINE)
    assert block
    loaded: dict[str, Any] = yaml.safe_load(textwrap.dedent(block[0]))
    return loaded


class Runner(NamedTuple):
    """A runner with a clone, as `actions/checkout` leaves it with `lfs: false`."""

    folder: Path
    home: Path
    pulls: Path
    env: dict[str, str]

    def job(self, event: str, since: str) -> dict[str, subprocess.CompletedProcess[str]]:
        """Run the steps of the job that are commands; stops at the first that fails, but for those that always run."""
        told = {
            "github.event.pull_request.base.sha || github.event.before": since,
            "github.event_name == 'push' && 'both' || 'read'": "both" if event == "push" else "read",
        }
        assert workflow()["defaults"] == {"run": {"shell": "bash"}}
        job = workflow()["jobs"]["models"]
        own = {}
        for name, value in job["env"].items():
            expression = re.fullmatch(r"\$\{\{ (.*) \}\}", value)
            assert expression
            if not re.match(r"(vars|secrets)\.", expression[1]):
                own[name] = told[expression[1]]
        summary = self.home / "summary.md"
        summary.unlink(missing_ok=True)
        done: dict[str, subprocess.CompletedProcess[str]] = {}
        for step in job["steps"]:
            if "run" not in step or step["name"] == "Install":
                continue
            assert step.get("if") in (None, "always()", "github.event_name == 'push'")
            if step.get("if") == "github.event_name == 'push'" and event != "push":
                continue
            if step.get("if") != "always()" and any(each.returncode for each in done.values()):
                continue
            env = {**self.env, **own, "GITHUB_STEP_SUMMARY": str(summary)}
            # As GitHub runs the shell that `defaults` names.
            command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
            done[step["name"]] = subprocess.run(command, cwd=self.folder, env=env, capture_output=True, text=True)
        return done


@pytest.fixture
def registry() -> Iterator[Uploads]:
    with Uploads() as registry:
        yield registry


@pytest.fixture
def runner(tmp_path: Path, registry: Uploads) -> Runner:
    """A project that somebody has built and committed, with pointers instead of its weights."""
    (tmp_path / "share").mkdir()
    project = Project(tmp_path / "project")
    project.write("ModelBuild.toml", TOML.format(share=tmp_path / "share", host=registry.host))
    project.write(".gitignore", "/cache\n/models\naffected.txt\n")
    weights = project.checkpoint() / "model.safetensors"
    project.build()
    large = tmp_path / "large"
    large.mkdir()
    shutil.copy(weights, large)
    commands = tmp_path / "bin"
    commands.mkdir()
    (commands / "git-lfs").write_text(GIT_LFS)
    (commands / "git-lfs").chmod(0o755)
    (commands / "modelbuild").symlink_to(Path(sys.executable).with_name("modelbuild"))
    project.write(".gitattributes", "*.safetensors filter=lfs -text\n")
    git(project.folder, "init", "-q")
    git(project.folder, "config", "filter.lfs.clean", f"{commands}/git-lfs clean")
    git(project.folder, "add", "-A")
    git(project.folder, "commit", "-qm", "one")
    weights.write_bytes(subprocess.check_output(["git", "show", "HEAD:weights/model.safetensors"], cwd=project.folder))
    home = tmp_path / "home"
    home.mkdir()
    env = {
        **os.environ,
        "HOME": str(home),
        "PATH": f"{commands}:{os.environ['PATH']}",
        "MODELBUILD_CACHE": str(home / "cache"),
        "OLLAMA_MODELS": str(home / "models"),
        "LARGE_FILES": str(large),
        "PULLS": str(tmp_path / "pulls"),
    }
    return Runner(project.folder, home, tmp_path / "pulls", env)


def edit(runner: Runner, before: str, after: str) -> None:
    path = runner.folder / "ModelBuild.toml"
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))
    git(runner.folder, "commit", "-qam", "another")


def sent(registry: Uploads) -> list[str]:
    return [asked.path for asked in registry.asked if asked.method == "PUT" and "/manifests/" in asked.path]


def test_a_pull_request_builds_what_it_changes_without_the_weights(runner: Runner, registry: Uploads) -> None:
    edit(runner, "Hello.", "Good day.")
    done = runner.job("pull_request", "HEAD~1")
    assert {name: each.returncode for name, each in done.items()} == {
        "What the change affects": 0,
        "Build": 0,
        "Summary": 0,
    }, done
    assert done["What the change affects"].stdout.splitlines() == ["chat:q8_0", "chat:q4_0"]
    assert "2 models built" in done["Build"].stderr and "computed" not in done["Build"].stderr
    assert not runner.pulls.exists()
    summary = (runner.home / "summary.md").read_text()
    assert "| `chat:q4_0` | changed |" in summary
    assert "terse" not in summary
    assert not sent(registry)


def test_what_is_merged_is_pushed(runner: Runner, registry: Uploads) -> None:
    edit(runner, "Be terse.", "Be very terse.")
    done = runner.job("push", "HEAD~1")
    assert all(not each.returncode for each in done.values()), done
    assert sent(registry) == ["/v2/team/terse/manifests/latest"]


def test_the_weights_are_fetched_where_something_is_made_of_them(runner: Runner) -> None:
    edit(runner, '"q4_0"]', '"q4_1"]')
    done = runner.job("pull_request", "HEAD~1")
    assert all(not each.returncode for each in done.values()), done
    assert runner.pulls.read_text() == "pulled\n"
    assert done["What the change affects"].stdout.splitlines() == ["chat:q4_1"]
    assert "1 model built" in done["Build"].stderr


def test_a_mistake_fails_the_job_and_is_in_the_summary(runner: Runner) -> None:
    edit(runner, 'quantize = "q8_0"', 'quantize = "q8_1"')
    done = runner.job("push", "HEAD~1")
    assert "Push" not in done
    assert done["Build"].returncode == 123, "what xargs answers where the command failed"
    assert "unknown type 'q8_1'" in done["Build"].stderr
    assert "1 broken, 2 unchanged" in (runner.home / "summary.md").read_text()
    assert "| `terse` | broken |" in (runner.home / "summary.md").read_text()


def test_on_a_new_branch_all_is_new(runner: Runner) -> None:
    done = runner.job("pull_request", "0" * 40)
    assert all(not each.returncode for each in done.values()), done
    assert done["What the change affects"].stdout.splitlines() == ["chat:q8_0", "chat:q4_0", "terse"]
    assert "since nothing: 3 added" in (runner.home / "summary.md").read_text()


def test_a_commit_that_is_gone_fails_the_job(runner: Runner) -> None:
    done = runner.job("pull_request", "1" * 40)
    assert done["What the change affects"].returncode == 2
    assert "Build" not in done


def test_a_name_is_no_option(runner: Runner, registry: Uploads) -> None:
    edit(runner, "[model.terse]", '[model."--remote-cache=both"]')
    done = runner.job("push", "HEAD~1")
    assert done["Build"].returncode == 123
    assert "Push" not in done


def test_nothing_changed(runner: Runner, registry: Uploads) -> None:
    done = runner.job("push", "HEAD")
    assert all(not each.returncode for each in done.values()), done
    assert done["Build"].stderr + done["Push"].stderr == ""
    assert not sent(registry)
    assert "no variant differs" in (runner.home / "summary.md").read_text()
