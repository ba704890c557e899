"""Time this tree beside another one, in turn: what a change of the code costs.

    python benchmarks/trees.py OTHER/bin/modelbuild                  cold, shard, edit, nothing and start
    python benchmarks/trees.py OTHER/bin/modelbuild edit --rounds 41

OTHER is a virtual environment with the other tree installed; this tree is the one of the Python that runs this script. Each side
has its own folders and caches.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path

import tensors

import build
import synthetic
from build import Run, in_turn, made, medians, project, ratio, timed


def cold(command: list[str], work: Path, folder: Path) -> Callable[[], Run]:
    """Safetensors of 1.3 GB to q4_K_M, nothing kept from before."""
    weights = made(work, "large", synthetic.LARGE)

    def run() -> Run:
        project(folder, weights)
        return timed([*command, "-C", str(folder), "--cache", str(folder / "cache")], sync=folder)

    return run


def edit(command: list[str], work: Path, folder: Path) -> Callable[[], Run]:
    """One PARAMETER changed over 1.3 GB of weights, from the command to the finished manifest."""
    project(folder, made(work, "large", synthetic.LARGE))
    words = [*command, "-C", str(folder), "--cache", str(folder / "cache")]
    timed(words)
    numbers = count(1)

    def run() -> Run:
        file = folder / "Modelfile"
        file.write_text(f"{file.read_text().rsplit(chr(10), 2)[0]}\nPARAMETER temperature 0.{next(numbers):03}\n")
        return timed(words)

    return run


def shard(command: list[str], work: Path, folder: Path) -> Callable[[], Run]:
    """Three tensors of one of four shards changed, 1.3 GB of weights."""
    weights = tensors.sharded(work)
    edit = tensors.edits(weights)
    project(folder, weights)
    words = [*command, "-C", str(folder), "--cache", str(folder / "cache")]
    timed(words)

    def run() -> Run:
        edit()
        return timed(words, sync=folder)

    return run


def nothing(command: list[str], work: Path, folder: Path) -> Callable[[], Run]:
    """The examples, with nothing to do."""
    shutil.rmtree(folder, ignore_errors=True)
    root = Path(__file__).resolve().parents[1]
    words = [*command, "-C", str(root), "--models", str(folder / "models"), "--cache", str(folder / "cache")]
    timed(words)
    return lambda: timed(words)


def start(command: list[str], work: Path, folder: Path) -> Callable[[], Run]:
    """modelbuild --version."""
    return lambda: timed([*command, "--version"])


KINDS = {"cold": (cold, 5), "shard": (shard, 11), "edit": (edit, 21), "nothing": (nothing, 21), "start": (start, 21)}
"""What is timed, and how often unless said otherwise."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", help="the other tree's modelbuild")
    parser.add_argument("which", nargs="*", choices=[*KINDS, []], help="default: all")
    parser.add_argument("--work", type=Path, default=Path("build/benchmarks"), help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=0, help="default: 5 for cold, 11 for shard, 21 for the others")
    asked = parser.parse_args()
    work = asked.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    for name in asked.which or KINDS:
        make, rounds = KINDS[name]
        print(f"{name}: {make.__doc__}")
        sides = {
            "other": make([asked.other], work, work / f"{name}-other"),
            "this": make(build.MODELBUILD, work, work / f"{name}-this"),
        }
        runs = in_turn(asked.rounds or rounds, sides)
        medians(runs)
        ratio(runs, "this", "other")


if __name__ == "__main__":
    main()
