"""Time whole builds against the tools people come from; both sides in turn, each ending with `sync -f`.

    python benchmarks/build.py cold      safetensors to q4_K_M: convert_hf_to_gguf.py and llama-quantize
    python benchmarks/build.py edit      one parameter changed, over 1.3 GB and over 1 MB of weights
    python benchmarks/build.py nothing   a build with nothing to do: ninja and make with as many targets
    python benchmarks/build.py start     modelbuild --version against python -c pass
    python benchmarks/build.py types     an f16 GGUF to each of several types: llama-quantize with as many threads
    python benchmarks/build.py ten       ten types of one model in one build, and each in a build of its own

`cold` and `types` want the peers that `.ci/peers` installs (source the `env` file it leaves); `nothing` wants ninja and make. The
`modelbuild` that is timed is the one of the Python that runs this script. Checkpoints are made once, in --work.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import synthetic

MODELBUILD = [str(Path(sys.executable).parent / "modelbuild")]
MIB = 1 << 20

# Python keeps bytecode unless it is told not to; a tool that is run again and again is measured with it.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


class Run(NamedTuple):
    """Wall and processor seconds, and the peak resident set in bytes (of the largest process, mapped pages included)."""

    seconds: float
    cpu: float
    peak: int


def timed(*commands: Sequence[str], sync: Path | None = None, folder: Path | None = None) -> Run:
    """Run commands one after the other, then `sync -f` of a folder, which counts as well."""
    begun = time.perf_counter()
    cpu, peak = 0.0, 0
    for command in commands:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=folder)
        assert process.stdout
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(
                f"{' '.join(command)} exited with {process.returncode}:\n{output.decode(errors='replace')[-3000:]}"
            )
        cpu += usage.ru_utime + usage.ru_stime
        peak = max(peak, usage.ru_maxrss * 1024)
    if sync is not None:
        subprocess.run(["sync", "-f", str(sync)], check=True)
    return Run(time.perf_counter() - begun, cpu, peak)


def described(run: Run) -> str:
    return f"{run.seconds * 1000:10.1f} ms  cpu {run.cpu:6.2f} s  peak {run.peak / MIB:7.1f} MiB"


def in_turn(
    rounds: int, sides: dict[str, Callable[[], Any]], told: Callable[[Any], str] = described
) -> dict[str, list[Any]]:
    runs: dict[str, list[Any]] = {name: [] for name in sides}
    for number in range(rounds):
        for name, side in sides.items():
            run = side()
            runs[name].append(run)
            print(f"  {number + 1}: {name:<24} {told(run)}", flush=True)
    return runs


def ratio(runs: dict[str, list[Run]], slow: str, fast: str) -> None:
    pairs = sorted(a.seconds / b.seconds for a, b in zip(runs[slow], runs[fast], strict=True))
    print(f"  {slow} / {fast}: median {statistics.median(pairs):.2f} (from {pairs[0]:.2f} to {pairs[-1]:.2f})")


def medians(runs: dict[str, list[Run]]) -> None:
    for name, all_ in runs.items():
        print(
            f"  {name:<24} median {statistics.median(run.seconds for run in all_) * 1000:.1f} ms, "
            f"peak {max(run.peak for run in all_) / MIB:.1f} MiB"
        )


def made(work: Path, name: str, size: dict[str, int]) -> Path:
    folder = work / name
    if not (folder / "model.safetensors").exists():
        print(f"making {folder}")
        # In a process of its own: what a command inherits from this one would count as its peak memory.
        sizes = [word for key, value in size.items() for word in (f"--{key}", str(value))]
        subprocess.run([sys.executable, synthetic.__file__, str(folder), *sizes], check=True)
    return folder


def project(folder: Path, weights: Path, extra: str = "") -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "Modelfile").write_text(f"FROM {weights}\nSYSTEM You are a benchmark.\nPARAMETER temperature 0.5\n")
    (folder / "ModelBuild.toml").write_text(
        f'[project]\nname = "bench"\nmodels = "models"\n[defaults]\nquantize = "q4_K_M"\n{extra}'
    )


def cold(work: Path, rounds: int) -> None:
    """From safetensors to a q4_K_M that runs, nothing kept from before."""
    weights = made(work, "large", synthetic.LARGE)
    peers = os.environ["MODELBUILD_PEERS_PYTHON"]
    convert = Path(os.environ["MODELBUILD_LLAMA_SRC"]) / "convert_hf_to_gguf.py"
    (quantize,) = Path(os.environ["MODELBUILD_LLAMA_CPP"]).rglob("bin/llama-quantize")
    theirs, ours = work / "theirs", work / "ours"

    def llama_cpp() -> Run:
        shutil.rmtree(theirs, ignore_errors=True)
        theirs.mkdir()
        bf16, q4 = str(theirs / "bf16.gguf"), str(theirs / "q4.gguf")
        jobs = str(os.cpu_count())
        return timed(
            [peers, str(convert), str(weights), "--outfile", bf16, "--outtype", "bf16"],
            [str(quantize), bf16, q4, "Q4_K_M", jobs],
            sync=theirs,
        )

    def modelbuild() -> Run:
        project(ours, weights)
        return timed([*MODELBUILD, "-C", str(ours), "--cache", str(ours / "cache")], sync=ours)

    runs = in_turn(rounds, {"llama.cpp": llama_cpp, "modelbuild": modelbuild})
    result = max((ours / "models/blobs").iterdir(), key=lambda path: path.stat().st_size)
    same = subprocess.run(["cmp", str(theirs / "q4.gguf"), str(result)], check=False).returncode == 0
    files = {path.stat().st_ino: path.stat().st_size for path in ours.rglob("*") if path.is_file()}
    files.pop(result.stat().st_ino)
    medians(runs)
    ratio(runs, "llama.cpp", "modelbuild")
    print(f"  same bytes: {same}; largest other file written: {max(files.values()) / MIB:.1f} MiB")


def edit(work: Path, rounds: int) -> None:
    """One parameter changed, in a Modelfile or in the ModelBuild.toml, from the command to the finished manifest."""
    sides = {}
    for name, size in (("1.3 GB", synthetic.LARGE), ("1 MB", synthetic.SMALL)):
        weights = made(work, "large" if size is synthetic.LARGE else "small", size)
        folder = work / f"edit-{name.replace(' ', '')}"
        project(folder, weights, "[model.'*'.parameters]\ntop_p = 0.5\n")
        command = [*MODELBUILD, "-C", str(folder), "--cache", str(folder / "cache")]
        timed(command)
        count = iter(range(1, 1000))
        for file, line in (("Modelfile", "PARAMETER temperature 0.{:03}"), ("ModelBuild.toml", "top_p = 0.{:03}")):

            def side(
                path: Path = folder / file, line: str = line, command: list[str] = command, count: Iterator[int] = count
            ) -> Run:
                path.write_text(f"{path.read_text().rsplit(chr(10), 2)[0]}\n{line.format(next(count))}\n")
                manifests = path.parent / "models/manifests"
                before = {each.read_bytes() for each in manifests.rglob("latest")}
                run = timed(command)
                assert before != {each.read_bytes() for each in manifests.rglob("latest")}
                return run

            sides[f"{file}, {name}"] = side
    medians(in_turn(rounds, sides))


def nothing(work: Path, rounds: int) -> None:
    """Nothing to do, over the examples and over 1,000 variants; ninja and make with as many targets and files."""
    examples = work / "examples"
    root = Path(__file__).resolve().parents[1]
    base = [*MODELBUILD, "-C", str(root), "--models", str(examples / "models"), "--cache", str(examples / "cache")]
    timed(base)
    many = work / "many"
    shutil.rmtree(many, ignore_errors=True)
    weights = made(work, "small", synthetic.SMALL)
    for number in range(1000):
        folder = many / "models.d" / f"m{number:04}"
        folder.mkdir(parents=True)
        (folder / "Modelfile").write_text(f"FROM {weights}\nSYSTEM You are number {number}.\nPARAMETER seed {number}\n")
    (many / "ModelBuild.toml").write_text(
        '[project]\nmodels = "built"\nmodelfiles = ["models.d/**/Modelfile"]\n[defaults]\nquantize = "q4_K_M"\n'
    )
    ours = [*MODELBUILD, "-C", str(many), "--cache", str(many / "cache")]
    print(f"  first build of 1,000 variants: {timed(ours).seconds:.2f} s")
    timed(ours)
    ninja, make = ["rule cp", "  command = cp $in $out"], ["all:"]
    for number in range(1000):
        source, target = f"models.d/m{number:04}/Modelfile", f"out/m{number:04}"
        ninja.append(f"build {target}: cp {source}")
        make += [f"all: {target}", f"{target}: {source}", "\t@mkdir -p out; cp $< $@"]
    (many / "build.ninja").write_text("\n".join(ninja) + "\n")
    (many / "Makefile").write_text("\n".join(make) + "\n")
    timed(["ninja"], folder=many)
    timed(["make"], folder=many)
    sides = {
        "examples": lambda: timed(base),
        "1,000": lambda: timed(ours),
        "ninja": lambda: timed(["ninja"], folder=many),
        "make": lambda: timed(["make"], folder=many),
    }
    runs = in_turn(rounds, sides)
    medians(runs)
    ratio(runs, "1,000", "ninja")
    ratio(runs, "1,000", "make")


def start(work: Path, rounds: int) -> None:
    """What the tool costs before it does anything."""
    sides = {
        "modelbuild": lambda: timed([*MODELBUILD, "--version"]),
        "python": lambda: timed([sys.executable, "-c", "pass"]),
    }
    runs = in_turn(rounds, sides)
    medians(runs)
    ratio(runs, "modelbuild", "python")


TYPES = ("q4_0", "q8_0", "q3_K_M", "q4_K_M", "q5_K_M", "q6_K")
TEN = (*TYPES, "q3_K_S", "q3_K_L", "q4_K_S", "q5_K_S")


def types(work: Path, rounds: int) -> None:
    """An f16 GGUF of 1.3 GB to each of several types, as many threads on both sides."""
    weights = made(work, "large", synthetic.LARGE)
    (quantize,) = Path(os.environ["MODELBUILD_LLAMA_CPP"]).rglob("bin/llama-quantize")
    source = work / "f16.gguf"
    if not source.exists():
        convert = Path(os.environ["MODELBUILD_LLAMA_SRC"]) / "convert_hf_to_gguf.py"
        timed(
            [
                os.environ["MODELBUILD_PEERS_PYTHON"],
                str(convert),
                str(weights),
                "--outfile",
                str(source),
                "--outtype",
                "f16",
            ]
        )
    theirs, ours = work / "theirs", work / "ours"
    for name in TYPES:

        def llama_quantize(name: str = name) -> Run:
            shutil.rmtree(theirs, ignore_errors=True)
            theirs.mkdir()
            command = [str(quantize), str(source), str(theirs / "out.gguf"), name.upper(), str(os.cpu_count())]
            return timed(command, sync=theirs)

        def modelbuild(name: str = name) -> Run:
            project(ours, source, f'[model.ours]\nmodelfile = "Modelfile"\nquantize = "{name}"\n')
            return timed([*MODELBUILD, "-C", str(ours), "--cache", str(ours / "cache")], sync=ours)

        print(f" {name}")
        runs = in_turn(rounds, {"llama.cpp": llama_quantize, "modelbuild": modelbuild})
        result = max((ours / "models/blobs").iterdir(), key=lambda path: path.stat().st_size)
        same = subprocess.run(["cmp", str(theirs / "out.gguf"), str(result)], check=False).returncode == 0
        medians(runs)
        ratio(runs, "llama.cpp", "modelbuild")
        print(f"  same bytes: {same}")


def ten(work: Path, rounds: int) -> None:
    """Ten types of one model in one build, against the sum of ten builds that share nothing."""
    weights = made(work, "large", synthetic.LARGE)
    folder = work / "ten"

    def build(*names: str) -> Run:
        listed = ", ".join(f'"{name}"' for name in names)
        project(folder, weights, f'[model.ten]\nmodelfile = "Modelfile"\n[model.ten.matrix]\nquantize = [{listed}]\n')
        return timed([*MODELBUILD, "-C", str(folder), "--cache", str(folder / "cache")], sync=folder)

    def one_by_one() -> Run:
        runs = [build(name) for name in TEN]
        return Run(sum(run.seconds for run in runs), sum(run.cpu for run in runs), max(run.peak for run in runs))

    # Else the side that comes first would alone read the weights from the disk.
    with (weights / "model.safetensors").open("rb") as file:
        while file.read(16 * MIB):
            pass
    runs = in_turn(rounds, {"one build": lambda: build(*TEN), "ten builds": one_by_one})
    medians(runs)
    ratio(runs, "one build", "ten builds")
    shutil.rmtree(folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    benchmarks = {"cold": cold, "edit": edit, "nothing": nothing, "start": start, "types": types, "ten": ten}
    parser.add_argument("which", nargs="*", choices=[*benchmarks, []], help="default: all")
    parser.add_argument(
        "--work", type=Path, default=Path("build/benchmarks"), help="folder for what is made (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=0, help="default: 3 for cold, types and ten, 15 for the others")
    asked = parser.parse_args()
    folder = asked.work.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for name in asked.which or list(benchmarks):
        print(f"{name}: {benchmarks[name].__doc__}")
        benchmarks[name](folder, asked.rounds or (3 if name in ("cold", "types", "ten") else 15))
