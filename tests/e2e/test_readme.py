"""What README.md shows of a terminal is what a terminal shows. UPDATE_GOLDEN=1 writes the output into it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
HEADINGS = {"## The first minute\n": 3, "## A LoRA\n": 2}
"""The parts that are what a terminal shows, and how many commands of ours each has at least."""

VARIES = re.compile(r"\d+\.\d+ s\b")
"""Times, which are not compared."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home whose folder `support` has the Modelfile of the README and, as a fine-tune, the storyteller of the examples."""
    support = tmp_path / "support"
    support.mkdir()
    shutil.copytree(ROOT / "examples" / "storyteller", support / "my-finetune-hf")
    modelfile = re.search(r"^    \$ cat Modelfile\n((?:    [^$\n].*\n)+)", README.read_text(), re.MULTILINE)
    assert modelfile
    (support / "Modelfile").write_text(modelfile[1].replace("    ", ""))
    shutil.copytree(ROOT / "examples" / "adapters" / "parrot", support / "my-lora")
    return tmp_path


def run(command: str, home: Path) -> str:
    """What a terminal shows of a command."""
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    # Nothing of this machine: no models folder, no cache, no server.
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("OLLAMA_", "MODELBUILD_", "XDG_"))}
    env = {**kept, "PATH": programs, "HOME": str(home), "OLLAMA_HOST": "127.0.0.1:1"}
    folder = home / "support"
    both = subprocess.STDOUT
    done = subprocess.run(["sh", "-c", command], cwd=folder, env=env, stdout=subprocess.PIPE, stderr=both, text=True)
    return done.stdout.replace(str(home), "~")


def transcripts(home: Path, text: str) -> Iterator[str]:
    """The lines of the README, with the output of its commands as it is now in place of what stands there."""
    answering = False
    for line in text.splitlines(keepends=True):
        if line.startswith("    $ "):
            yield line
            yield from (f"    {said}\n".replace("    \n", "\n") for said in run(line[6:], home).splitlines())
            answering = True
        elif not (answering and line.startswith("    ")):
            answering = False
            yield line


def compared(text: str) -> list[str]:
    """Lines without times, in order of the alphabet: steps end in any order."""
    return sorted(VARIES.sub("T", text).splitlines())


@pytest.mark.parametrize("heading", HEADINGS)
def test_what_it_shows_is_what_a_terminal_shows(heading: str, home: Path) -> None:
    before, _, rest = README.read_text().partition(heading)
    told, next_heading, after = rest.partition("\n## ")
    if table := re.search(r"^    \$ cat ModelBuild.toml\n((?:    [^$\n].*\n)+)", told, re.MULTILINE):
        (home / "support" / "ModelBuild.toml").write_text(table[1].replace("    ", ""))
    made = "".join(transcripts(home, told))
    if os.environ.get("UPDATE_GOLDEN") and compared(told) != compared(made):
        README.write_text(before + heading + made + next_heading + after)
        told = made
    assert compared(told) == compared(made)
    assert told.count("    $ modelbuild") >= HEADINGS[heading]
