"""Time `modelbuild watch` from the save of a SYSTEM text to the finished manifest, and say where the time goes.

    python benchmarks/watch.py [--variants 20,1000,10000] [--rounds 30] [--work FOLDER]

A project has one base in four quants and a discovered Modelfile, in a folder of its own, for each variant. A save is a rename, as
editors do it, of a random Modelfile. The parts come from clocks that are put around functions of the watching process.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import synthetic

QUANTS = ("q8_0", "q6_K", "q5_K_M", "q4_K_M")

TOML = """
[project]
models = "../models"
modelfiles = ["models.d/**/Modelfile"]
[model.base]
from = "../weights"
[model.base.matrix]
quantize = ["q8_0", "q6_K", "q5_K_M", "q4_K_M"]
"""

PROGRAM = """
import json, sys, time
from modelbuild.cli import watching
from modelbuild.cli.main import main
from modelbuild.publish.models_folder import ModelsFolder
from modelbuild.session import building, watcher

def clocked(owner, name, part):
    call = getattr(owner, name)
    def run(*args, **kwargs):
        begun = time.monotonic()
        try:
            return call(*args, **kwargs)
        finally:
            sys.stdout.write(json.dumps([part, begun, time.monotonic()]) + "\\n")
            sys.stdout.flush()
    setattr(owner, name, run)

clocked(watcher.Watcher, "_settle", "settle")
clocked(watcher.Watcher, "watch", "look")
clocked(watching._Rounds, "_plan", "plan")
clocked(watching._Rounds, "build", "round")
clocked(building, "build", "build")
clocked(building._Building, "_put", "put")
clocked(building._Building, "stamp", "stamp")
sys.exit(main(sys.argv[1:]))
"""
"""The watching process, which says on stdout when parts of a round began and ended."""


def saved(path: Path, text: str) -> float:
    """Save as editors do; returns when the file was there."""
    new = path.with_name(".Modelfile.new")
    new.write_text(text)
    new.replace(path)
    return time.monotonic()


def text_of(number: int, system: str) -> str:
    return f"FROM base:{QUANTS[number % len(QUANTS)]}\nSYSTEM {system}\nPARAMETER seed {number}\n"


def project(work: Path, variants: int) -> Path:
    """A project of so many variants, the four bases among them."""
    folder = work / f"watch-{variants}" / "project"
    shutil.rmtree(folder.parent, ignore_errors=True)
    synthetic.checkpoint(folder.parent / "weights", layers=2, hidden=256, intermediate=256, vocabulary=300)
    for number in range(variants - len(QUANTS)):
        (folder / "models.d" / f"m{number:05}").mkdir(parents=True)
        (folder / "models.d" / f"m{number:05}" / "Modelfile").write_text(text_of(number, "one"))
    (folder / "ModelBuild.toml").write_text(TOML)
    return folder


def system_of(models: Path, number: int) -> str | None:
    """The system text of a model as the models folder has it."""
    try:
        manifest = json.loads((models / f"manifests/registry.ollama.ai/library/m{number:05}/latest").read_text())
        (digest,) = (each["digest"] for each in manifest["layers"] if each["mediaType"].endswith("image.system"))
        return (models / "blobs" / digest.replace(":", "-")).read_text()
    except (OSError, ValueError):
        return None


def measured(folder: Path, variants: int, rounds: int) -> None:
    models, log = folder.parent / "models", folder.parent / "log"
    command = [sys.executable, "-c", PROGRAM, "--cache", str(folder.parent / "cache"), "watch"]
    with log.open("w") as out, (folder.parent / "clocks").open("w") as clocks:
        process = subprocess.Popen(command, cwd=folder, stdout=clocks, stderr=out)
    try:
        while "Ctrl-C ends it" not in log.read_text():
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)
        took, random_ = [], random.Random(1)
        for turn in range(rounds):
            time.sleep(0.5 + variants / 10_000)
            number = random_.randrange(variants - len(QUANTS))
            at = saved(folder / "models.d" / f"m{number:05}" / "Modelfile", text_of(number, f"turn {turn}"))
            while system_of(models, number) != f"turn {turn}":
                assert time.monotonic() < at + 60, log.read_text()
                time.sleep(0.001)
            took.append((at, time.monotonic()))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
    seconds = sorted(end - at for at, end in took)
    print(f"{variants:>7,} variants  median {1000 * statistics.median(seconds):.0f} ms  ", end="")
    print(f"least {1000 * seconds[0]:.0f}  most {1000 * seconds[-1]:.0f}", flush=True)
    parts: dict[str, list[float]] = {}
    for line in (folder.parent / "clocks").read_text().splitlines():
        part, begun, end = json.loads(line)
        if any(at <= end and begun <= finished for at, finished in took):
            parts.setdefault(f"{part}", []).append(1000 * (end - begun))
            start = next(at for at, finished in took if at <= end and begun <= finished)
            parts.setdefault(f"{part} begins after the save", []).append(1000 * (begun - start))
    for part, values in parts.items():
        print(f"         {part:<40} {statistics.median(values):8.1f} ms", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", default="20,1000,10000")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--work", type=Path, default=Path("/tmp/modelbuild-benchmarks"))
    given = parser.parse_args()
    for variants in map(int, given.variants.split(",")):
        folder = project(given.work, variants)
        measured(folder, variants, given.rounds)


if __name__ == "__main__":
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    main()
