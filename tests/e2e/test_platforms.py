"""The same bytes on every platform that docs/platforms.md names, and one sentence on Windows."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


def build(folder: Path, program: Sequence[str], cwd: Path = ROOT, **env: str) -> dict[str, bytes]:
    """Build the examples with nothing kept; what lies in the models folder, by path."""
    models = folder / "models"
    command = [*program, "-C", str(EXAMPLES), "--models", str(models), "--cache", str(folder / "cache")]
    run = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env={**os.environ, **env}, timeout=600)
    assert run.returncode == 0, run.stderr
    return {str(path.relative_to(models)): path.read_bytes() for path in models.rglob("*") if path.is_file()}


def assert_same(made: Mapping[str, bytes], expected: Mapping[str, bytes]) -> None:
    assert sorted(made) == sorted(expected)
    assert [path for path, data in made.items() if data != expected[path]] == []


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What this machine makes."""
    return build(tmp_path_factory.mktemp("here"), [sys.executable, "-m", "modelbuild"])


def test_a_system_without_what_macos_lacks_builds_the_same(here: dict[str, bytes], tmp_path: Path) -> None:
    """With the kernels that Apple's processors run."""
    made = build(tmp_path, [sys.executable, "-m", "tests.e2e.as_on_macos"], MODELBUILD_KERNELS="portable")
    assert_same(made, here)


@pytest.mark.parametrize("words", [["list"], ["check"], ["show", "quickstart"], ["--dry-run"], ["graph"]])
def test_a_system_without_what_macos_lacks_runs_every_kind_of_command(tmp_path: Path, words: list[str]) -> None:
    said = []
    for module in ("modelbuild", "tests.e2e.as_on_macos"):
        places = ["-C", str(EXAMPLES), "--models", str(tmp_path / "models"), "--cache", str(tmp_path / "cache")]
        run = subprocess.run([sys.executable, "-m", module, *words, *places], capture_output=True, text=True, cwd=ROOT)
        # What a copy takes is foretold where the system tells whether files can share their blocks.
        said.append((run.returncode, run.stdout, re.sub(r"[\d.]+ MB to (be written|write)", "", run.stderr)))
    assert said[0] == said[1]
    assert said[0][0] == 0


AS_ON_WINDOWS = """
import os, sys
sys.platform = "win32"
for name in ("fcntl", "resource", "pwd", "grp", "termios", "posix"):
    sys.modules[name] = None  # an import of it fails
for name in ("O_CLOEXEC", "O_NONBLOCK", "O_NOFOLLOW", "sysconf", "preadv", "pread", "getuid", "geteuid", "fchmod"):
    delattr(os, name)
from modelbuild.cli.main import program
sys.exit(program())
"""


@pytest.mark.parametrize("words", [[], ["--version"], ["--help"], ["chat", "-k"]])
def test_windows_gets_one_sentence(words: list[str]) -> None:
    run = subprocess.run([sys.executable, "-c", AS_ON_WINDOWS, *words], capture_output=True, text=True, cwd=ROOT)
    assert (run.returncode, run.stdout, run.stderr) == (
        2,
        "",
        "error: modelbuild runs on Linux and macOS; on Windows, install and run it inside WSL (the Windows Subsystem for Linux)\n",
    )


PYTHONS = os.environ.get("MODELBUILD_PYTHONS", "").split(":")
"""Interpreters that have what modelbuild requires."""


@pytest.mark.peer
@pytest.mark.parametrize("version", ["3.12", "3.13"])
def test_every_python_builds_the_same(here: dict[str, bytes], tmp_path: Path, version: str) -> None:
    python = next((path for path in PYTHONS if version in path), None)
    if python is None:
        pytest.skip(f"MODELBUILD_PYTHONS names no Python {version}")
    told = subprocess.run([python, "--version"], capture_output=True, text=True, check=True).stdout
    assert told.startswith(f"Python {version}.")
    program = [python, "-W", "error::DeprecationWarning", "-m", "modelbuild"]
    assert_same(build(tmp_path, program, PYTHONPATH=str(ROOT)), here)


def compiled(tree: Path, python: str, **env: str) -> bytes:
    """Lay this tree into a folder, with kernels that another compiler or another Python makes; their bytes."""
    without = shutil.ignore_patterns("_native*.so", "__pycache__")
    for name in ("modelbuild", "tests"):
        shutil.copytree(ROOT / name, tree / name, ignore=without)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    command = [python, "-W", "ignore", "setup.py", "-q", "build_ext", "--inplace"]
    subprocess.run(command, cwd=tree, check=True, env={**os.environ, **env})
    return next(tree.rglob("_native*.so")).read_bytes()


def assert_kernels_make_the_bytes_of_ggml(tree: Path, python: str) -> None:
    """Every format, packed with and without importances and unpacked."""
    tests = [f"tests/tensors/quants/test_{name}.py" for name in ("vectors", "casts", "dequantize")]
    # In one process: the emulated Python has pytest alone.
    command = [python, "-m", "pytest", "-q", "-o", "addopts=", "-p", "no:cacheprovider", *tests]
    run = subprocess.run(command, cwd=tree, capture_output=True, text=True, timeout=900)
    assert run.returncode == 0, run.stdout[-4000:]
    found = re.search(r"(\d+) passed", run.stdout)
    assert found and int(found[1]) > 150, run.stdout


@pytest.mark.peer
def test_the_kernels_of_clang_make_the_bytes_of_ggml(tmp_path: Path) -> None:
    """macOS has no other compiler."""
    if shutil.which("clang") is None:
        pytest.skip("clang is not on the PATH")
    assert b"clang version" in compiled(tmp_path, sys.executable, CC="clang", LDSHARED="clang -shared")
    assert_kernels_make_the_bytes_of_ggml(tmp_path, sys.executable)


@pytest.fixture(scope="module")
def arm64(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with this tree and kernels for arm64, made by a Python of arm64 under emulation."""
    python = os.environ.get("MODELBUILD_ARM64_PYTHON")
    if not python or not Path(python).exists():
        pytest.skip("MODELBUILD_ARM64_PYTHON names no Python of arm64")
    tree = tmp_path_factory.mktemp("arm64")
    machine = int.from_bytes(compiled(tree, python)[18:20], "little")
    assert machine == 183, "the kernels are not those of AArch64"
    return tree


@pytest.mark.peer
def test_arm64_builds_the_same(here: dict[str, bytes], arm64: Path, tmp_path: Path) -> None:
    python = os.environ["MODELBUILD_ARM64_PYTHON"]
    assert_same(build(tmp_path, [python, "-m", "modelbuild"], cwd=arm64, MODELBUILD_KERNELS="portable"), here)


@pytest.mark.peer
def test_the_kernels_of_arm64_make_the_bytes_of_ggml(arm64: Path) -> None:
    assert_kernels_make_the_bytes_of_ggml(arm64, os.environ["MODELBUILD_ARM64_PYTHON"])
