"""Time what is made of finished tensors; every run ends with `sync -f`.

    python benchmarks/tensors.py shard    three tensors of one of four shards change: against a build with an empty cache
    python benchmarks/tensors.py stop     a build that is stopped at 80 % and started again, by Ctrl-C, SIGTERM, SIGHUP and SIGKILL
    python benchmarks/tensors.py order    steps that sleep, in the order of their declaration and with the longest path first

The checkpoint has 1.34 GB of bf16; it is built to q4_K_M.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import build
import synthetic
from build import MIB, Run, in_turn, made, medians, project, ratio, timed
from modelbuild.engine.action import ActionResult
from modelbuild.engine.graph import Graph, Step
from modelbuild.engine.scheduler import Calls, Scheduler

SHARDS = 4


def sharded(work: Path) -> Path:
    """The large checkpoint in several files."""
    whole, folder = made(work, "large", synthetic.LARGE), work / "sharded"
    if (folder / "model.safetensors.index.json").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    source = whole / "model.safetensors"
    tensors, start = header(source)
    size, part, names = source.stat().st_size, 1, {}
    groups: list[dict[str, Any]] = [{}]
    for name, tensor in tensors.items():
        if tensor["data_offsets"][0] >= part * size / SHARDS:
            groups.append({})
            part += 1
        groups[-1][name] = tensor
    with source.open("rb") as file:
        for number, group in enumerate(groups, 1):
            path = folder / f"model-{number:05}-of-{len(groups):05}.safetensors"
            first = min(tensor["data_offsets"][0] for tensor in group.values())
            last = max(tensor["data_offsets"][1] for tensor in group.values())
            moved = {
                name: {**tensor, "data_offsets": [at - first for at in tensor["data_offsets"]]}
                for name, tensor in group.items()
            }
            text = json.dumps(moved).encode()
            text += b" " * (-len(text) % 8)
            file.seek(start + first)
            with path.open("wb") as out:
                out.write(struct.pack("<Q", len(text)) + text)
                left = last - first
                while left:
                    data = file.read(min(left, 16 * MIB))
                    out.write(data)
                    left -= len(data)
            names.update(dict.fromkeys(group, path.name))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": names}))
    return folder


def header(path: Path) -> tuple[dict[str, Any], int]:
    """The tensors of a safetensors file, and where their bytes begin."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        tensors = json.loads(file.read(length))
    tensors.pop("__metadata__", None)
    return tensors, 8 + length


def command(folder: Path) -> list[str]:
    return [*build.MODELBUILD, "-C", str(folder), "--cache", str(folder / "cache")]


def edits(weights: Path) -> Callable[[], None]:
    """What changes a weight in each of three tensors of the second shard, by so much that the quantized bytes change as well."""
    changed = sorted(weights.glob("*.safetensors"))[1]
    tensors, start = header(changed)
    chosen = [tensor for name, tensor in tensors.items() if name.endswith("proj.weight")][:3]

    def edit() -> None:
        with changed.open("r+b") as file:
            for tensor in chosen:
                file.seek(start + tensor["data_offsets"][0])
                (before,) = struct.unpack("<H", file.read(2))
                file.seek(-2, os.SEEK_CUR)
                file.write(struct.pack("<H", 0x3C00 + (before + 0x65) % 0x200))
            os.fsync(file.fileno())

    return edit


def shard(work: Path, rounds: int) -> None:
    """Three tensors of one of four shards change; for comparison, `dd` copies the finished layer past the page cache."""
    weights, full, edited = sharded(work), work / "shard-full", work / "shard-edited"
    edit = edits(weights)
    project(edited, weights)
    timed(command(edited), sync=edited)

    def whole() -> Run:
        project(full, weights)
        return timed(command(full), sync=full)

    def again() -> Run:
        edit()
        return timed(command(edited), sync=edited)

    def disk() -> Run:
        old = max((edited / "models/blobs").iterdir(), key=lambda path: path.stat().st_size)
        new = edited / "copy"
        new.unlink(missing_ok=True)
        subprocess.run(["sync", "-f", str(edited)], check=True)
        copy = (
            f"dd if={old} bs=4M iflag=direct status=none | dd of={new} bs=4M iflag=fullblock oflag=direct status=none"
        )
        return timed(["sh", "-c", copy], sync=edited)

    edit()
    done = subprocess.run([*command(edited), "--json"], capture_output=True, text=True, check=True)
    summary = json.loads(done.stdout.splitlines()[-1])
    print(f"  {summary['tensors_computed']} tensors computed, {summary['tensors_reused']} copied")
    runs = in_turn(rounds, {"empty cache": whole, "three tensors": again, "dd": disk})
    medians(runs)
    ratio(runs, "three tensors", "empty cache")
    ratio(runs, "dd", "empty cache")
    ratio(runs, "three tensors", "dd")


def stop(work: Path, rounds: int) -> None:
    """Stopped at 80 % of the file, and started again."""
    weights, folder = made(work, "large", synthetic.LARGE), work / "stop"
    size = 415_437_984
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL):
        for _ in range(rounds):
            project(folder, weights)
            process = subprocess.Popen(command(folder), stderr=subprocess.DEVNULL)
            while process.poll() is None and _written(process.pid) < 0.8 * size:
                time.sleep(0.002)
            begun = time.perf_counter()
            process.send_signal(number)
            process.wait()
            ended = time.perf_counter() - begun
            done = subprocess.run([*command(folder), "--json"], capture_output=True, text=True, check=True)
            summary = json.loads(done.stdout.splitlines()[-1])
            computed, reused = summary["tensors_computed"], summary["tensors_reused"]
            print(
                f"  {number.name}: ended after {ended * 1000:.0f} ms; then {computed} of {computed + reused} tensors computed, "
                f"{summary['seconds']:.2f} s"
            )


def _written(pid: int) -> int:
    try:
        found = re.search(r"wchar: (\d+)", Path(f"/proc/{pid}/io").read_text())
    except OSError:
        return 0
    return int(found[1]) if found else 0


def order(work: Path, rounds: int) -> None:
    """Twelve steps of 50 ms, and a chain of three of 50, 50 and 300 ms that is declared after them, on two and four threads."""
    steps = [Step(f"leaf{number}", "join", 1, "{}", (), "thread") for number in range(12)]
    chain = [Step(name, "join", 1, "{}", ((before, before),) if before else (), "thread") for before, name in
             (("", "a"), ("a", "b"), ("b", "c"))]  # fmt: skip
    seconds = {**dict.fromkeys((step.name for step in (*steps, *chain)), 0.05), "c": 0.3}
    result = ActionResult("sha256:0", 0)

    def run(step: Step) -> tuple[ActionResult, bool]:
        time.sleep(seconds[step.name])
        return result, True

    calls = Calls(lambda steps: {}, run, lambda step: None, lambda finish: None, lambda: None)
    for jobs in (2, 4):
        for name, costs in (("as declared", {}), ("longest path first", seconds)):
            begun = time.perf_counter()
            Scheduler(Graph([*steps, *chain]), jobs, False, calls, costs).run()
            print(f"  {jobs} threads, {name}: {time.perf_counter() - begun:.2f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    benchmarks = {"shard": shard, "stop": stop, "order": order}
    parser.add_argument("which", nargs="*", choices=[*benchmarks, []], help="default: all")
    parser.add_argument("--work", type=Path, default=Path("build/benchmarks"), help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    folder = asked.work.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for name in asked.which or benchmarks:
        print(f"{name}: {benchmarks[name].__doc__}")
        benchmarks[name](folder, asked.rounds)
