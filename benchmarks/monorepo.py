"""Time monorepos of many variants over one tiny base: nothing to do, one edit, a first plan and a first build; beside ninja, make and doit.

    python benchmarks/monorepo.py                   100, 1,000 and 10,000 variants
    python benchmarks/monorepo.py 100000 --rounds 1

Half of the variants are Modelfiles that are found, the other half rows of tables; there are four quants. The other tools copy one file for
each variant, in a graph of as many targets. All sides of a round run in turn. An edit is one changed SYSTEM, from the command to its end.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import synthetic
from build import MIB, MODELBUILD, Run, in_turn, ratio, timed

QUANTS = ("q4_K_M", "q5_K_M", "q6_K", "q8_0")
TINY = {"layers": 1, "hidden": 64, "intermediate": 64, "vocabulary": 300}
PLAN = (
    "from modelbuild.session.session import Session; from modelbuild.session.settings import Settings; "
    "import sys; session = Session(Settings(folder=sys.argv[1], cache=sys.argv[2])); "
    "print(len(session.graph.outputs)); session.close()"
)


def modelfile(root: Path, number: int) -> Path:
    return root / f"models.d/g{number // 100:03}/q{number % 4}-m{number:05}/Modelfile"


def monorepo(root: Path, count: int, weights: Path) -> None:
    """Write a project of so many variants, and the same as a graph of ninja, make and doit."""
    shutil.rmtree(root, ignore_errors=True)
    lines = ['[project]\nmodels = "built"\nmodelfiles = ["models.d/**/Modelfile"]']
    lines += [f'[model."q{number}-*"]\nquantize = "{quant}"' for number, quant in enumerate(QUANTS)]
    for number in range(count // 2):
        file = modelfile(root, number)
        file.parent.mkdir(parents=True)
        file.write_text(f"FROM {weights}\nSYSTEM You are number {number}.\nPARAMETER seed {number}\n")
    listed = ", ".join(f'"{quant}"' for quant in QUANTS)
    for number in range(count // 2 // len(QUANTS)):
        lines.append(
            f'[model.t{number:05}]\nfrom = "{weights}"\nsystem = "You are table {number}."\nparameters = {{ seed = {number} }}\n'
            f'matrix = {{ quantize = [{listed}] }}\ndefault = {{ quantize = "{QUANTS[0]}" }}'
        )
    (root / "ModelBuild.toml").write_text("\n".join(lines) + "\n")
    ninja, make = ["rule cp", "  command = cp $in $out"], ["all:"]
    doit = ["def task_copy():"]
    sources = [modelfile(root, number) for number in range(count // 2)]
    for number in range(count):
        source = sources[number % len(sources)].relative_to(root)
        ninja.append(f"build out/{number}: cp {source}")
        make += [f"all: made/{number}", f"made/{number}: {source}", "\t@cp $< $@"]
    doit += [f"    files = {[str(source.relative_to(root)) for source in sources]!r}"]
    doit += [f"    for number in range({count}):", "        file = files[number % len(files)]"]
    doit += ["        yield {'name': str(number), 'actions': [f'cp {file} done/{number}'], 'file_dep': [file],"]
    doit += ["               'targets': [f'done/{number}']}"]
    for name, text in (("build.ninja", ninja), ("Makefile", make), ("dodo.py", doit)):
        (root / name).write_text("\n".join(text) + "\n")
    for folder in ("out", "made", "done"):
        (root / folder).mkdir()


def others(root: Path, count: int) -> dict[str, list[str]]:
    """The other tools that are installed."""
    found = {"ninja": ["ninja", "--quiet"], "make": ["make", "-s"]}
    beside = Path(sys.executable).with_name("doit")
    doit = shutil.which("doit") or (str(beside) if beside.exists() else None)
    if doit and count <= 1000:
        # It runs each task in a shell of its own: 10,000 of them take minutes.
        found["doit"] = [doit, "-v0"]
    return {name: command for name, command in found.items() if shutil.which(command[0])}


def measured(work: Path, count: int, rounds: int) -> list[str]:
    """A row of the table."""
    root, weights = work / f"monorepo-{count}", work / "tiny"
    if not weights.exists():
        synthetic.checkpoint(weights, **TINY)
    monorepo(root, count, weights)
    tools = others(root, count)
    cache = root / "cache"
    ours = [*MODELBUILD, "-q", "-C", str(root), "--cache", str(cache)]
    plan = timed([sys.executable, "-c", PLAN, str(root), str(root / "cache-of-plan")])
    first = timed(ours, sync=root)
    for command in tools.values():
        timed(command, folder=root)
    timed(ours)
    numbers = iter(range(1, 1_000_000))

    def edited(command: list[str], folder: Path | None = None) -> Callable[[], Run]:
        def side(numbers: Iterator[int] = numbers) -> Run:
            number = next(numbers)
            file = modelfile(root, number * 7 % (count // 2))
            text = file.read_text().split("SYSTEM")[0]
            file.write_text(f"{text}SYSTEM You are edited {number}.\nPARAMETER seed {number}\n")
            return timed(command, folder=folder)

        return side

    sides = {"nothing": lambda: timed(ours)}
    sides |= {
        f"{name}, nothing": lambda command=command: timed(command, folder=root) for name, command in tools.items()
    }
    nothing = in_turn(rounds, sides)
    # Each edit is built by one tool alone, which the others then find.
    edits = in_turn(rounds, {"edit": edited(ours)})
    for name, command in tools.items():
        timed(command, folder=root)
        edits |= in_turn(rounds, {f"{name}, edit": edited(command, root)})
    for name in tools:
        ratio(nothing, "nothing", f"{name}, nothing")
        ratio(edits, "edit", f"{name}, edit")
    row = [f"{count:,}"]
    for runs, what in ((nothing, "nothing"), (edits, "edit")):
        row.append(_ms(runs[what]))
        row += [_ms(runs[f"{name}, {what}"]) if name in tools else "" for name in ("ninja", "make", "doit")]
    peak = max(plan.peak, first.peak, *(run.peak for run in (*nothing["nothing"], *edits["edit"])))
    row += [
        f"{plan.seconds:.2f} s ({plan.cpu:.2f})",
        f"{first.seconds:.2f} s ({first.cpu:.2f})",
        f"{peak / MIB:.0f} MiB",
    ]
    return row


def _ms(runs: list[Run]) -> str:
    return f"{statistics.median(run.seconds for run in runs) * 1000:.0f} ({statistics.median(run.cpu for run in runs) * 1000:.0f})"


HEAD = [
    "variants", "nothing, ms (CPU)", "ninja", "make", "doit", "edit, ms (CPU)", "ninja", "make", "doit",
    "first plan (CPU)", "first build (CPU)", "peak memory",
]  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("counts", nargs="*", type=int, default=[100, 1000, 10000], help="default: %(default)s")
    parser.add_argument("--work", type=Path, default=Path("build/benchmarks"), help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=9, help="default: %(default)s")
    asked = parser.parse_args()
    folder = asked.work.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    rows = [measured(folder, count, asked.rounds) for count in asked.counts]
    for row in (HEAD, ["---"] * len(HEAD), *rows):
        print("| " + " | ".join(row) + " |")
