"""When a build that follows changes builds, and what it says; what counts as a change is tested with the watcher."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from modelbuild import interrupt
from modelbuild.cli import watching
from modelbuild.cli.commands.build import Rebuild, Request
from modelbuild.cli.invocation import Invocation
from modelbuild.session.session import Selection
from modelbuild.session.settings import Settings
from tests import checkpoints
from tests.cli.streams import Streams

TOML = '[model.chat]\nfrom = "./weights"\nsystem = "{}"\n'


class Scripted:
    """A watcher that finds what a script says has changed, and is interrupted at its end."""

    polling: str | None = None
    watched = 3
    period = 2.0

    def __init__(self, script: list[Callable[[], Collection[Path]]]) -> None:
        self.script = script
        self.seen: set[str] = set()
        self.restless: set[str] = set()
        self.told: dict[str, str] = {}
        self.closed = False

    def watch(self, found: Collection[str]) -> list[str]:
        new = set(found) - self.seen
        self.seen |= new
        return sorted(new)

    def begin(self) -> None:
        pass

    def again(self, path: str) -> None:
        raise AssertionError(path)

    def stirred(self) -> set[str]:
        return set()

    def look(self, seconds: float = 0.0) -> set[str]:
        return set()

    def wait(self, seconds: float = 0.0) -> set[str]:
        if not self.script:
            raise KeyboardInterrupt
        found = [str(path) for path in self.script.pop(0)()]
        self.told = dict.fromkeys(found, "changed")
        return set(found)

    def close(self) -> None:
        self.closed = True


class Followed:
    """A project that is followed: how often it was built, and what was said."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.file = folder / "ModelBuild.toml"
        self.file.write_text(TOML.format("one"))
        checkpoints.write(folder / "weights")
        monkeypatch.chdir(folder)
        self.folder = folder
        self.monkeypatch = monkeypatch
        self.targets = ["chat"]
        self.built = 0
        self.said: list[str] = []
        self.meanwhile: list[Callable[[], object]] = []
        """What happens in the next builds."""

    def run(self, *script: Callable[[], Collection[Path]], polling: str | None = None) -> Scripted:
        streams = Streams()
        call = Invocation(Settings(folder=str(self.folder), cache=str(self.folder / "cache")), streams.report)
        watcher = Scripted(list(script))
        watcher.polling = polling
        self.monkeypatch.setattr(watching, "Watcher", lambda poll: watcher)
        with pytest.raises(KeyboardInterrupt):
            watching.until_interrupted(call, Counted(self))
        self.said = streams.err.splitlines()
        assert watcher.closed
        return watcher

    def write(self, text: str) -> Callable[[], Collection[Path]]:
        def act() -> Collection[Path]:
            self.file.write_text(text)
            return [self.file]

        return act

    def change(self, name: str) -> Callable[[], Collection[Path]]:
        return lambda: [self.folder / name]


class Counted(Rebuild):
    """Builds nothing and counts."""

    def __init__(self, project: Followed) -> None:
        super().__init__(Request(project.targets))
        self.project = project

    def edit(self, call: Invocation, among: Collection[str] | None = None) -> Selection | None:
        return None

    def build(self, call: Invocation, selection: Selection) -> None:
        self.project.built += 1
        for act in self.project.meanwhile[:1]:
            del self.project.meanwhile[0]
            act()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Followed:
    return Followed(tmp_path, monkeypatch)


def test_only_another_plan_or_a_source_of_it_is_built_again(project: Followed) -> None:
    watcher = project.run()
    assert project.built == 1
    assert {str(project.file), str(project.folder / "weights/model.safetensors")} <= watcher.seen
    project.run(
        project.change("notes.txt"),
        project.write("# the same\n" + TOML.format("one")),
        project.change("weights/model.safetensors"),
        project.write(TOML.format("two")),
    )
    assert project.built == 1 + 3
    assert re.sub(r"\d\d:\d\d:\d\d  ", "", "\n".join(project.said)).splitlines() == [
        "watching 3 folders; Ctrl-C ends it",
        "ModelBuild.toml changed; nothing to build",
        "weights/model.safetensors changed",
        "ModelBuild.toml changed",
    ]


def test_the_same_error_is_shown_once_and_the_next_change_is_built(project: Followed) -> None:
    wrong = project.write("[modl.chat]\nfrm = 1\n")
    project.run(wrong, wrong, project.change("notes.txt"), project.write(TOML.format("one")))
    assert project.built == 2
    assert sum(line.startswith("error:") for line in project.said) == 1


@pytest.mark.parametrize(("targets", "told"), [([], ["a", "b"]), (["chat"], [])])
def test_a_broken_model_keeps_no_other_from_being_built_and_is_told_of_once(
    project: Followed, targets: list[str], told: list[str]
) -> None:
    broken = "[model.other]\nfrom = './{}'\n"
    project.targets = targets
    project.run(
        project.write(TOML.format("one") + broken.format("a")),
        project.change("notes.txt"),
        project.write(TOML.format("one") + broken.format("a") + "# the same\n"),
        project.write(TOML.format("one") + broken.format("b")),
        project.write(TOML.format("two") + broken.format("b")),
        project.write(TOML.format("two")),
    )
    assert project.built == 1 + 1
    found = [line for line in project.said if line.startswith("error:")]
    assert [line.rpartition("'./")[2].rstrip("'") for line in found if "no such file or folder" in line] == told
    assert len(found) == len(told)


def test_a_project_file_that_is_gone_is_waited_for(project: Followed) -> None:
    def remove() -> Collection[Path]:
        project.file.unlink()
        return [project.file]

    project.run(remove, project.write(TOML.format("two")))
    assert project.built == 2
    assert [line for line in project.said if "removed" in line] == [
        "error: ModelBuild.toml: the project file was removed"
    ]


def test_a_build_that_is_superseded_is_made_again_and_that_is_said(project: Followed) -> None:
    def supersede() -> None:
        raise interrupt.Superseded

    project.meanwhile = [supersede]
    project.run(project.change("notes.txt"))
    assert project.built == 2
    assert project.said[-1].endswith("  notes.txt changed; the build starts again")


def test_the_models_folder_of_the_project_counts(project: Followed) -> None:
    project.run(project.write('[project]\nmodels = "elsewhere"\n' + TOML.format("one")))
    assert project.built == 2


def test_it_is_said_that_files_are_polled_and_why(project: Followed) -> None:
    project.run(polling="no events here")
    assert project.said == ["watching by polling every 2 s: no events here; Ctrl-C ends it"]
