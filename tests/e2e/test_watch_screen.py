"""A watch on a terminal: one picture of the last round, which the next one replaces."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

pytest.importorskip("pty")

from tests.cli.screen import run  # noqa: E402
from tests.e2e.project import Project  # noqa: E402

PROGRAM = """
import os, signal, sys, threading, time
from pathlib import Path
from modelbuild.cli.main import main
from modelbuild.cli.redrawn import Redrawn

text, write = [], Redrawn.write

def written(self, more):
    text.append(more)
    return write(self, more)

Redrawn.write = written

def follows(*parts):
    'Wait until these were written, one after the other, since the last time.'
    while True:
        all_, at = "".join(text), 0
        for part in parts:
            at = all_.find(part, at) + len(part) if part in all_[at:] else -1
            if at < 0:
                break
        else:
            del text[:]
            return
        time.sleep(0.02)

def edit():
    follows("Ctrl-C ends it")
    for words, part in [("base\\nSYSTEM two", "built"), ("bass", "'bass'"), ("base\\nSYSTEM three", "built")]:
        Path("../saved").write_text(f"FROM {words}\\n")
        Path("../saved").replace("chat/Modelfile")
        follows(part, "Ctrl-C ends it")
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=edit, daemon=True).start()
sys.exit(main(sys.argv[1:]))
"""


def test_a_round_replaces_the_one_before(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.checkpoint()
    project.write("ModelBuild.toml", '[project]\nmodelfiles = ["*/Modelfile"]\n[model.base]\nfrom = "./weights"\n')
    project.write("chat/Modelfile", "FROM base\nSYSTEM one\n")
    command = project.command("watch")
    code, screen = run([sys.executable, "-c", PROGRAM, *command[3:]], 100, tmp_path)
    text = "\n".join(screen.text())
    assert code == 130, text
    shown = re.sub(r"\d\d:\d\d:\d\d", "TIME", re.sub(r"\(.*?s;", "(…;", text)).splitlines()
    assert shown[0] == "TIME  chat/Modelfile changed", text
    assert shown[1].startswith("built      chat:latest"), text
    assert [line for line in shown if line.startswith("watching ")] == ["watching 4 folders; Ctrl-C ends it"], text
    assert len([line for line in shown if line.startswith("1 model")]) == 1, text
    before = ["\n".join(picture) for picture in screen.drawn]
    # Commands are as a plain build tells them.
    assert any("try one: modelbuild" in " ".join(picture.split()) for picture in before)
    assert not any("-f ModelBuild.toml" in picture for picture in before)
    assert any("'bass'" in picture and "base:latest" not in picture for picture in before), "the fault has stood there"
    assert "'bass'" not in text, "and is over"
