"""A monorepo of three parts: built together, from the folder of one, and with one of them broken, moved or gone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelbuild.cli import arguments
from modelbuild.cli.completion import offered
from tests.e2e.in_process import InProcess
from tests.e2e.test_watch import Watch

ROOT = """
[project]
include = ["teams/*/ModelBuild.toml"]
modelfiles = ["**/Modelfile"]
[vars]
ctx = 2048
[defaults]
parameters = { num_ctx = "${ctx}" }
[model.base]
from = "./weights"
quantize = "q8_0"
[group]
release = ["vision/chat", "support"]
"""
VISION = """
[project]
modelfiles = ["*/Modelfile"]
default = ["chat", "tuned"]
[vars]
ctx = 4096
[ftype.mine]
base = "q4_K_M"
[model.tuned]
from = "chat"
system = { file = "prompt.txt" }
[model.q]
from = "../../weights"
output = "dist/"
matrix.quantize = ["mine", "q8_0"]
default.quantize = "mine"
"""
SUPPORT = """
[project]
namespace = "acme"
[model.chat]
extends = "vision/tuned"
parameters = { temperature = 0.5 }
[model.bot]
from = "vision/chat"
"""
OPS = '[project]\nname = "operations"\n[model.chat]\nfrom = "support/bot"\nsystem = "ops"\n'


class Mono(InProcess):
    """The monorepo; `within` is a folder of it to work in."""

    within = "."

    def command(self, *words: str, models: Path | None = None, cache: Path | None = None) -> list[str]:
        command = super().command(*words, models=models, cache=cache)
        command[command.index("-C") + 1] = str(self.folder / self.within)
        return command

    def names(self) -> set[str]:
        root = self.models / "manifests" / "registry.ollama.ai"
        found = (path.relative_to(root).parts for path in root.rglob("*") if path.is_file())
        return {f"{namespace}/{model}:{tag}" for namespace, model, tag in found}

    def published(self) -> set[str]:
        return {each["name"] for each in self.events if each["event"] == "variant"}

    def state(self, *words: str) -> dict[str, str]:
        return {each["label"]: each["built"] for each in json.loads(self.run("list", "--json", *words))}


def make(folder: Path) -> Mono:
    mono = Mono(folder)
    mono.checkpoint(layers=1)
    mono.write("ModelBuild.toml", ROOT)
    mono.write("teams/vision/ModelBuild.toml", VISION)
    mono.write("teams/vision/prompt.txt", "see")
    mono.write("teams/vision/chat/Modelfile", "FROM base\nSYSTEM look\n")
    mono.write("teams/support/ModelBuild.toml", SUPPORT)
    mono.write("teams/ops/ModelBuild.toml", OPS)
    return mono


EVERYTHING = {
    "library/base:latest", "vision/chat:latest", "vision/tuned:latest", "vision/q:mine", "vision/q:latest", "vision/q:q8_0",
    "acme/chat:latest", "acme/bot:latest", "operations/chat:latest",
}  # fmt: skip


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Mono:
    mono = make(tmp_path_factory.mktemp("mono"))
    mono.build()
    assert mono.names() == EVERYTHING
    mono.check()
    return mono


@pytest.fixture
def mono(built: Mono, tmp_path: Path) -> Iterator[Mono]:
    """A copy of the built one, in which one build has been run."""
    shutil.copytree(built.folder, tmp_path / "mono", symlinks=True)
    copy = Mono(tmp_path / "mono")
    copy.build()
    yield copy
    copy.within = "."
    copy.check()


def test_together_they_are_one_project(mono: Mono) -> None:
    assert mono.build() == {} and mono.summary["ran"] == 0
    assert set(mono.state().values()) == {"yes"}
    assert (mono.folder / "teams" / "vision" / "dist" / "q-mine.gguf").is_file()
    shown = json.loads(mono.run("show", "--json", "support/chat"))
    assert shown["values"]["system"] == {"value": "see", "place": "teams/vision/ModelBuild.toml:11:1"}
    assert shown["parameters"]["num_ctx"] == {"value": 2048, "place": "ModelBuild.toml:8:16"}
    assert shown["parameters"]["temperature"]["place"] == "teams/support/ModelBuild.toml:6:16"
    line = "operations/chat:latest -> acme/bot:latest -> vision/chat:latest -> base:latest -> weights\n"
    assert mono.run("graph", "operations") == line


def test_the_folder_of_a_part_builds_the_part_and_what_it_is_based_on(tmp_path: Path) -> None:
    mono = make(tmp_path)
    mono.within = "teams/vision/chat"
    mono.build()
    assert mono.names() == {"vision/chat:latest", "vision/tuned:latest"}
    mono.build("q:q8_0", "support/bot")
    assert mono.published() == {"vision/q:q8_0", "acme/bot:latest"}
    ran = mono.summary["tensors_computed"]
    mono.within = "."
    mono.build()
    assert mono.names() == EVERYTHING and ran == 0
    mono.check()


def test_in_the_folder_of_a_part_its_words_come_first(mono: Mono) -> None:
    mono.within = "teams/support"
    assert set(mono.state()) == {"support/chat", "support/bot"}
    assert set(mono.state("chat")) == {"support/chat"} and set(mono.state("vision/chat", "base")) == {
        "vision/chat",
        "base",
    }
    assert set(mono.state("release")) == {"vision/chat", "support/chat", "support/bot"}
    assert json.loads(mono.run("show", "--json", "chat"))["names"] == ["acme/chat:latest"]
    mono.run("check")
    assert "2 models checked" in mono.errors
    mono.run("explain", "bot")
    mono.run("-n", "chta", code=2)
    assert "did you mean 'chat'?" in mono.errors
    mono.run("export", "chat", str(mono.folder / "dist"))
    assert (mono.folder / "dist").is_dir()
    places = ["--cache", str(mono.cache), "-C", str(mono.folder / mono.within)]
    words = {item.value for item in offered(arguments.root(), [*places, "show", ""])}
    assert {"chat", "bot", "support/chat", "vision/q:mine", "base"} <= words and "tuned" not in words
    assert [item.value for item in offered(arguments.root(), [*places, "--var", "c"])] == ["ctx="]


@pytest.mark.parametrize(
    "words", [["-f", "teams/ops/ModelBuild.toml"], ["./teams/ops"], ["./teams/ops/ModelBuild.toml"]]
)
def test_a_part_may_be_named_by_its_path(mono: Mono, words: list[str]) -> None:
    mono.run(*words)
    assert "nothing to do: 1 model unchanged" in mono.errors


def test_an_edit_rebuilds_what_it_reaches_in_whichever_part(mono: Mono) -> None:
    mono.write("teams/vision/chat/Modelfile", "FROM base\nSYSTEM look closer\nPARAMETER top_k 3\n")
    mono.within = "teams/support"
    mono.build()
    assert set(mono.state().values()) == {"yes"}
    mono.within = "."
    # The prompt of `tuned` and `ops` hides the edited one, not the parameter.
    assert mono.state() == {
        "base": "yes", "operations/chat": "changed", "support/chat": "yes", "support/bot": "yes", "vision/chat": "changed",
        "vision/tuned": "changed", "vision/q:mine": "yes", "vision/q:q8_0": "yes",
    }  # fmt: skip
    mono.build()
    assert set(mono.state().values()) == {"yes"}


def test_parts_come_and_go(mono: Mono) -> None:
    mono.write("teams/new/ModelBuild.toml", '[model.x]\nfrom = "vision/chat"\n')
    mono.build()
    assert mono.names() - EVERYTHING == {"new/x:latest"}
    shutil.rmtree(mono.folder / "teams" / "new")
    shutil.rmtree(mono.folder / "teams" / "ops")
    mono.within = "teams/vision"
    mono.run("clean", code=2)
    assert "clean removes what the whole project wrote" in mono.errors
    mono.run("clean", "--stale", code=2)
    assert "clean --stale` removes all of it" in mono.errors
    mono.within = ""
    mono.run("clean", "--stale")
    assert mono.names() == EVERYTHING - {"operations/chat:latest"}


def test_a_broken_part_stops_itself_and_what_needs_it(mono: Mono) -> None:
    mono.write("teams/vision/ModelBuild.toml", VISION + "[model.x\n")
    mono.run("-k", code=1)
    assert "teams/vision/ModelBuild.toml:17:9: not TOML" in mono.errors and "1 unchanged" in mono.errors
    assert "used by  'operations/chat', 'support/chat', 'support/bot', 'vision'" in mono.errors
    assert {label: built for label, built in mono.state().items() if built != "broken"} == {"base": "yes"}
    mono.run("clean", "--stale", code=2)
    assert mono.names() == EVERYTHING
    mono.within = "teams/support"
    mono.write("teams/support/ModelBuild.toml", '[model.own]\nfrom = "base"\n')
    mono.build()
    assert mono.published() == {"support/own:latest"}
    mono.within = "teams/vision"
    mono.run(code=2)
    assert "not TOML" in mono.errors
    mono.run("-n", "chat", code=2)
    assert "not TOML" in mono.errors


def test_a_project_that_cannot_be_read_is_told_in_the_folder_of_a_part(mono: Mono) -> None:
    mono.write("ModelBuild.toml", ROOT + "[")
    mono.within = "teams/vision"
    mono.run(code=2)
    assert "not TOML" in mono.errors and mono.names() == EVERYTHING


def test_copied_elsewhere_a_part_stands_alone(mono: Mono, tmp_path: Path) -> None:
    mono.write("teams/vision/ModelBuild.toml", VISION.replace("../../weights", str(mono.folder / "weights")))
    mono.write("teams/vision/chat/Modelfile", f"FROM {mono.folder / 'weights'}\nSYSTEM look\n")
    shutil.copytree(mono.folder / "teams" / "vision", tmp_path / "alone")
    alone = Mono(tmp_path / "alone")
    alone.build()
    assert alone.published() == {"chat:latest", "tuned:latest"}


def test_a_kept_plan_knows_the_parts(mono: Mono, monkeypatch: pytest.MonkeyPatch) -> None:
    mono.within = "teams/vision"
    mono.build()
    monkeypatch.setattr("modelbuild.project.loader.load", None)
    mono.build("chat")
    assert mono.published() == {"vision/chat:latest"}
    mono.build()
    assert mono.published() == {"vision/chat:latest", "vision/tuned:latest"}


def test_init_says_how_projects_become_parts(tmp_path: Path) -> None:
    mono = Mono(tmp_path)
    for team in ("a", "b"):
        mono.write(f"teams/{team}/ModelBuild.toml", '[model.chat]\nfrom = "../../weights"\n')
    mono.run("init")
    assert "wrote ModelBuild.toml for 2 projects" in mono.errors.replace(f"{tmp_path}/", "")
    mono.checkpoint(layers=1)
    assert set(mono.state()) == {"a/chat", "b/chat"}
    (tmp_path / "ModelBuild.toml").unlink()
    mono.write("more/x/c/ModelBuild.toml", "")
    mono.run("init")
    assert 'left out 3 projects; to make them parts of this one: include = ["**/ModelBuild.toml"]' in mono.errors
    assert set(mono.state()) == {"weights"}
    mono.write("ModelBuild.toml", '[project]\ninclude = ["**/ModelBuild.toml"]\n')
    assert set(mono.state()) == {"a/chat", "b/chat"}


def test_watch_in_the_folder_of_a_part_sees_all_that_the_part_is_made_of(tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    root = watch.project
    (root.folder / "chat" / "Modelfile").unlink()
    root.checkpoint(layers=1)
    root.write("ModelBuild.toml", ROOT)
    root.write("teams/vision/ModelBuild.toml", '[project]\nmodelfiles = ["*/Modelfile"]\nnamespace = "library"\n')
    root.write("teams/vision/chat/Modelfile", "FROM base\nSYSTEM one\n")
    with watch.running("-C", "teams/vision"):
        watch.until(lambda: watch.says("one"))
        root.write("teams/vision/chat/Modelfile", "FROM base\n")
        root.write(
            "teams/vision/ModelBuild.toml",
            '[project]\nmodelfiles = ["*/Modelfile"]\nnamespace = "library"\n[defaults]\nsystem = "two"\n',
        )
        watch.until(lambda: watch.says("two"))
        root.write("teams/vision/more/Modelfile", "FROM chat\n")
        watch.until(lambda: (root.models / "manifests/registry.ollama.ai/library/more/latest").is_file())
    assert not (root.models / "manifests/registry.ollama.ai/library/base").exists()


def test_a_from_is_shown_by_its_address(mono: Mono) -> None:
    rows = {each["label"]: each["from"] for each in json.loads(mono.run("list", "--json"))}
    assert rows["vision/tuned"] == rows["support/bot"] == "vision/chat" and rows["vision/chat"] == "base"
    assert rows["vision/q:mine"] == "../../weights"
    assert json.loads(mono.run("show", "--json", "vision/tuned"))["values"]["from"]["value"] == "vision/chat"


def test_texts_are_named_by_the_address_of_the_table_that_gives_them(mono: Mono) -> None:
    steps = mono.run("graph", "--steps", "vision/tuned", "support/chat", "vision/chat")
    assert steps.count("    vision/tuned/system\n") == 2 and steps.count("    vision/chat/system\n") == 1
    assert "    tuned/" not in steps and "    chat/" not in steps


def test_a_part_that_its_project_does_not_include_any_more_says_so(tmp_path: Path) -> None:
    mono = make(tmp_path)
    mono.write("ModelBuild.toml", ROOT.replace("teams/*/", "teams/ops/"))
    mono.write("teams/vision/ModelBuild.toml", '[model.q]\nfrom = "../../weights"\n')
    mono.within = "teams/vision"
    mono.run()
    assert "ModelBuild.toml includes other parts, not this one\n" in mono.errors
    mono.write("ModelBuild.toml", ROOT.replace('include = ["teams/*/ModelBuild.toml"]', ""))
    mono.run("--force")
    assert "includes other parts" not in mono.errors
