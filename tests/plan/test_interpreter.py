"""An interpreter is asked once, and again only if something that its answer follows from looks different."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from modelbuild.errors import Error
from modelbuild.observed import Observed, unchanged
from modelbuild.plan import interpreter
from modelbuild.project.locate import Place
from modelbuild.project.variant import File
from tests import tooling

PLACE = Place("ModelBuild.toml", "[tools]\npython = 'x'\n", ("tools", "python"))


class Asked:
    """Answers, and how many times a program was started for them."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.count = 0
        real = subprocess.run

        def counted(*words: Any, **options: Any) -> Any:
            self.count += 1
            return real(*words, **options)

        monkeypatch.setattr(interpreter.subprocess, "run", counted)

    def __call__(self, path: Path | None = None) -> tuple[dict[str, str], Observed]:
        observed = Observed()
        path = path or self.root / "python/bin/python"
        found = interpreter.Interpreters(observed, str(self.root / "cache")).answer(
            File(str(path), "python", str(self.root), PLACE)
        )
        return dict(found), observed


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Asked:
    tooling.interpreter(tmp_path / "python", {"torch": "2.13.0", "mistral_common": "1.8"})
    return Asked(tmp_path, monkeypatch)


def test_it_says_versions_and_is_asked_once(asked: Asked) -> None:
    found, observed = asked()
    assert (found["torch"], found["mistral_common"], found["gguf"]) == ("2.13.0", "1.8", "none")
    assert found["python"].startswith("3.") and found["platform"]
    assert asked()[0] == found and asked.count == 1
    again = asked()[1]
    assert unchanged(again.looks(), lambda path: "") or again.looks()
    assert {look[:2] for look in again.looks()} == {look[:2] for look in observed.looks()}


@pytest.mark.parametrize(
    "change", ["another version", "a package that was missing", "pyvenv.cfg", "a path file", "the program"]
)
def test_it_is_asked_again_if_it_may_say_otherwise(asked: Asked, change: str) -> None:
    before, observed = asked()
    site, root = tooling.site(asked.root), asked.root
    match change:
        case "another version":
            tooling.package(site, "torch", "2.14.0")
        case "a package that was missing":
            tooling.package(site, "gguf", "0.17")
        case "pyvenv.cfg":
            (root / "python/pyvenv.cfg").write_text((root / "python/pyvenv.cfg").read_text() + "prompt = x\n")
        case "a path file":
            tooling.package(root / "more", "gguf", "0.18")
            (site / "more.pth").write_text(f"{root / 'more'}\n")
        case "the program":
            program = root / "python/bin/python"
            target = os.readlink(program)
            program.unlink()
            program.write_text(f'#!/bin/sh\nexec {target} "$@"\n')
            program.chmod(0o755)
    assert not unchanged(observed.looks(), lambda path: interpreter.xxh3(Path(path).read_bytes()))
    after = asked()[0]
    assert asked.count == 2
    assert (after != before) == change.startswith(("another", "a pa")) or change == "the program"


def test_a_package_in_a_folder_that_a_path_file_adds_is_seen(asked: Asked) -> None:
    site = tooling.site(asked.root)
    tooling.package(asked.root / "more", "gguf", "0.18")
    (site / "more.pth").write_text(f"{asked.root / 'more'}\n")
    assert asked()[0]["gguf"] == "0.18"
    tooling.package(asked.root / "more", "gguf", "0.19")
    assert asked()[0]["gguf"] == "0.19" and asked.count == 2


def test_a_damaged_answer_counts_for_nothing(asked: Asked) -> None:
    found, _ = asked()
    (kept,) = (asked.root / "cache" / interpreter.FOLDER).iterdir()
    for data in (b"", b"x", kept.read_bytes()[:-3], kept.read_bytes().replace(b"2.13.0", b"2.99.9")):
        kept.write_bytes(data)
        assert asked()[0] == found
    assert asked.count == 5


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("#!/bin/sh\necho no\n", "'python' is not a Python interpreter"),
        ("#!/bin/sh\nexit 1\n", "'python' is not a Python interpreter"),
        ("nothing that runs", "'python' cannot be started"),
    ],
)
def test_what_is_no_interpreter(asked: Asked, text: str, what: str) -> None:
    program = asked.root / "other"
    program.write_text(text)
    program.chmod(0o755)
    with pytest.raises(Error, match=what) as caught:
        asked(program)
    assert caught.value.hint and caught.value.path == "ModelBuild.toml" and caught.value.line == 2
