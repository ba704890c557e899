"""Time conversion without quantization against llama.cpp's converter, and against the least that a disk lets one do.

    python benchmarks/convert.py          the 1.34 GB checkpoint to bf16 and to f16

Three sides in turn, each ending with `sync -f`: `convert_hf_to_gguf.py --outtype X`; `modelbuild` with `outtype = "X"`, nothing kept
from before; `cp` of the checkpoint's bytes and `sha256sum` of the copy. Wants the peers that `.ci/peers` installs.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
from pathlib import Path

import synthetic
from build import MIB, MODELBUILD, Run, in_turn, made, medians, project, ratio, timed


def convert(work: Path, outtype: str, rounds: int) -> None:
    weights = made(work, "large", synthetic.LARGE)
    script = Path(os.environ["MODELBUILD_LLAMA_SRC"]) / "convert_hf_to_gguf.py"
    theirs, ours, copy = work / "theirs", work / "ours", work / "copy"

    def fresh(folder: Path) -> Path:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    def llama_cpp() -> Run:
        out = fresh(theirs) / "out.gguf"
        command = [
            os.environ["MODELBUILD_PEERS_PYTHON"],
            str(script),
            str(weights),
            "--outfile",
            str(out),
            "--outtype",
            outtype,
        ]
        return timed(command, sync=theirs)

    def modelbuild() -> Run:
        project(ours, weights, f'[model.ours]\nmodelfile = "Modelfile"\nouttype = "{outtype}"\nquantize = "none"\n')
        return timed([*MODELBUILD, "-C", str(ours), "--cache", str(ours / "cache")], sync=ours)

    def disk() -> Run:
        out = fresh(copy) / "copy"
        return timed(["cp", str(weights / "model.safetensors"), str(out)], ["sha256sum", str(out)], sync=copy)

    runs = in_turn(rounds, {"llama.cpp": llama_cpp, "modelbuild": modelbuild, "cp, sha256sum": disk})
    result = max((ours / "models/blobs").iterdir(), key=lambda path: path.stat().st_size)
    same = subprocess.run(["cmp", str(theirs / "out.gguf"), str(result)], check=False).returncode == 0
    medians(runs)
    ratio(runs, "llama.cpp", "modelbuild")
    ratio(runs, "modelbuild", "cp, sha256sum")
    print(f"  same bytes: {same}; {result.stat().st_size / MIB:.0f} MiB")
    for folder in (theirs, ours, copy):
        shutil.rmtree(folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--work", type=Path, default=Path("build/benchmarks"), help="folder for what is made (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    folder = asked.work.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for outtype in ("bf16", "f16"):
        print(f"to {outtype}:")
        convert(folder, outtype, asked.rounds)
