"""Every tower of the zoo: our projector is llama.cpp's, and sees what transformers sees. UPDATE_GOLDEN=1 records those that are.

The embeddings are those that llama.cpp's libmtmd makes of the pixels that transformers is given too, by a program of few lines, and of a
spectrogram where a tower hears.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests import towers, zoo
from tests.e2e.in_process import InProcess
from tests.steps import test_towers, test_zoo

from .peers import Peers, Process, same

FAR = 1e-2
"""How far the embeddings may be apart, of their length."""


@pytest.mark.peer
@pytest.mark.parametrize(("kind", "name"), test_towers.CASES)
def test_towers_become_llama_cpps_file(kind: str, name: str, peers: Peers, tmp_path: Path) -> None:
    folder = zoo.write(tmp_path / "model", towers.cases(kind)[name])
    theirs = {}
    for outtype in zoo.OUTTYPES:
        theirs[outtype] = tmp_path / f"{outtype}.gguf"
        job = {"folder": str(folder), "outtype": outtype, "out": str(theirs[outtype]), "options": ["--mmproj"]}
        assert peers.ask(do="convert", **job) is None
        same(test_towers.projector(folder, outtype), theirs[outtype].read_bytes(), tmp_path)
    if os.environ.get("UPDATE_GOLDEN"):
        keep(kind, name, theirs)


def keep(kind: str, name: str, files: dict[str, Path]) -> None:
    path = test_towers.GOLDEN / f"{kind}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    found = {**(json.loads(path.read_text()) if path.is_file() else {}), name: test_zoo.record(files)}
    ordered: dict[str, object] = {"recorded with": test_zoo.RECORDED_WITH}
    ordered |= {case: found[case] for case in towers.cases(kind) if case in found}
    path.write_text(test_zoo.spelled(ordered) + "\n")


@pytest.fixture(scope="module")
def embeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program that has llama.cpp's libmtmd make embeddings."""
    source, build, compiler = (
        os.environ.get("MODELBUILD_LLAMA_SRC"),
        os.environ.get("MODELBUILD_LLAMA_CPP"),
        shutil.which("c++"),
    )
    library = next(Path(build).rglob("libmtmd.so"), None) if build else None
    if not source or not compiler or library is None:
        pytest.skip("no source of llama.cpp, no libmtmd or no c++")
    made = tmp_path_factory.mktemp("embeds") / "embeds"
    includes = [f"-I{source}/{each}" for each in ("tools/mtmd", "include", "ggml/include", "vendor", "common")]
    linked = [f"-L{library.parent}", "-lmtmd", "-lllama", "-lggml", "-lggml-base", f"-Wl,-rpath,{library.parent}"]
    code = str(Path(__file__).parents[1] / "peers/embeds.cpp")
    subprocess.run([compiler, "-std=c++17", "-O0", *includes, code, "-o", str(made), *linked], check=True)
    return made


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    process = Process(tmp_path_factory.mktemp("seen"), "seen.py", "TRANSFORMERS5_PYTHON")
    yield process
    process.close()


def image(config: dict[str, Any]) -> NDArray[np.float32]:
    """Pixels [height, width, 3] of a size that the tower takes, as the tower sees them."""
    vision, kind = config["vision_config"], config["model_type"]
    patch = vision["patch_size"]
    high, wide = {"qwen3": (4, 4), "gemma": (6, 9), "qwen2": (8, 12)}.get(kind[:5], (4, 6))
    if kind in ("gemma3", "idefics3", "smolvlm"):
        high = wide = vision["image_size"] // patch
    y, x = np.mgrid[0 : high * patch, 0 : wide * patch] / (wide * patch)
    found = np.stack([np.sin(7 * x + 3 * y), np.cos(5 * y - x), np.sin(9 * x * y)], -1).astype(np.float32)
    return (found + 1) / 2 if kind.startswith("gemma4") else found


def apart(ours: bytes, theirs: Path, rows: list[int] | None = None) -> float:
    expected = np.load(theirs)
    found = np.frombuffer(ours, "<f4").reshape(-1, expected.shape[1])
    found = found[rows] if rows is not None else found
    assert found.shape == expected.shape
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


COMPARED = [(kind, name) for kind, name in test_towers.CASES if towers.cases(kind)[name].logits]


@pytest.mark.peer
@pytest.mark.parametrize(("kind", "name"), COMPARED)
def test_embeddings_of_an_image_agree(kind: str, name: str, embeds: Path, seen: Process, tmp_path: Path) -> None:
    case = towers.cases(kind)[name]
    config: dict[str, Any] = dict(case.config)
    folder, pixels = zoo.write(tmp_path / "model", case), image(config)
    np.save(tmp_path / "pixels.npy", pixels)
    job = {"folder": str(folder), "pixels": str(tmp_path / "pixels.npy"), "out": str(tmp_path / "theirs.npy")}
    assert seen.ask(do="see", **job)["error"] is None
    (tmp_path / "mmproj.gguf").write_bytes(test_towers.projector(folder, "f32"))
    high, wide, _ = pixels.shape
    run = [embeds, tmp_path / "mmproj.gguf", str(wide), str(high)]
    made = subprocess.run(run, input=pixels.tobytes(), capture_output=True)
    assert made.returncode == 0, made.stderr.decode()
    rows = None
    if kind == "pixtral":
        # transformers leaves the token at the end of a row to the text.
        side = config["vision_config"]["patch_size"] * config.get("spatial_merge_size", 1)
        rows = [n for n in range(high // side * (wide // side + 1) - 1) if n % (wide // side + 1) != wide // side]
    assert apart(made.stdout, tmp_path / "theirs.npy", rows) < FAR
    if config.get("audio_config"):
        bins = config["audio_config"].get("audio_embed_dim", 128)
        sound = np.random.default_rng(3).standard_normal((bins, 48)).astype(np.float32)
        np.save(tmp_path / "pixels.npy", sound)
        assert seen.ask(do="hear", **job)["error"] is None
        run = [embeds, "--audio", tmp_path / "mmproj.gguf", "48", str(bins)]
        made = subprocess.run(run, input=sound.tobytes(), capture_output=True)
        assert made.returncode == 0, made.stderr.decode()
        assert apart(made.stdout, tmp_path / "theirs.npy") < FAR


@pytest.mark.peer
def test_what_the_page_says_of_gemma_4s_activation(embeds: Path, seen: Process, tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs/conversion.md").read_text(encoding="utf-8")
    said = next(line for line in page.splitlines() if line.startswith('    metadata = { "clip.use_gelu"'))
    case = towers.cases("gemma4")["images and sound"]
    folder, pixels = zoo.write(tmp_path / "model", case), image(dict(case.config))
    np.save(tmp_path / "pixels.npy", pixels)
    job = {"folder": str(folder), "pixels": str(tmp_path / "pixels.npy"), "out": str(tmp_path / "theirs.npy")}
    assert seen.ask(do="see", **job)["error"] is None
    (tmp_path / "seer-mmproj.gguf").write_bytes(test_towers.projector(folder, "f32"))
    project = InProcess(tmp_path)
    zoo.write(tmp_path / "text", zoo.cases("gemma3")["names of old"])
    of_file = '[model.seer]\nfrom = "./text"\nprojector = "seer-mmproj.gguf"\n'
    project.write("ModelBuild.toml", of_file + textwrap.dedent(said))
    project.build()
    (tmp_path / "gelu.gguf").write_bytes(project.blob("seer:latest", "projector"))
    high, wide, _ = pixels.shape
    found = []
    for name in ("seer-mmproj.gguf", "gelu.gguf"):
        run = [embeds, tmp_path / name, str(wide), str(high)]
        made = subprocess.run(run, input=pixels.tobytes(), capture_output=True, check=True)
        found.append(apart(made.stdout, tmp_path / "theirs.npy"))
    assert found[1] < 1e-3 < found[0] < 2 * FAR
