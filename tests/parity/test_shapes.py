"""Exports beside the programs that they are for: llama-gguf-split, llama-server's own reader of presets, skopeo, transformers."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelbuild.checkpoint import ggufs
from modelbuild.tensors.formats.gguf import decode_value, read_header
from tests import adapters, zoo
from tests.e2e.project import Project
from tests.registry.docker_registry import MISSING, DockerRegistry

from .peers import Process
from .test_logits import text

pytestmark = pytest.mark.peer


def tool(name: str) -> Path:
    """A program of the pinned llama.cpp."""
    build = os.environ.get("MODELBUILD_LLAMA_CPP")
    found = next(Path(build).rglob(name), None) if build else None
    if found is None:
        pytest.skip(f"MODELBUILD_LLAMA_CPP names no build with {name}")
    return found


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path)
    project.checkpoint(layers=3, hidden=256, intermediate=512)
    project.write(
        "ModelBuild.toml",
        """
[model.tale]
from = "./weights"
system = "Tell; a #story."
license = "MIT"
[model.tale.parameters]
temperature = 0.25
num_ctx = 1024
num_predict = 64
seed = 7
top_k = 20
top_p = 0.9
min_p = 0.05
typical_p = 0.95
repeat_last_n = 32
repeat_penalty = 1.1
presence_penalty = 0.5
frequency_penalty = 0.25
num_batch = 256
num_gpu = 3
main_gpu = 0
num_thread = 2
num_keep = 4
use_mmap = false
draft_num_predict = 5
stop = ["<|end|>"]
[model.tale.matrix]
quantize = ["f16", "q4_K_M"]
""",
    )
    return project


# Split files


@pytest.mark.parametrize("limit", ["1M", "2MB", "5", "13"])
def test_parts_are_those_of_llama_gguf_split(project: Project, limit: str) -> None:
    splitter = tool("llama-gguf-split")
    project.run("export", "tale", "whole")
    project.run("export", "tale", "parts", "--split", limit)
    size = limit.removesuffix("B")
    said = ["--split-max-tensors", size] if size.isdecimal() else ["--split-max-size", size]
    for stem in ("tale-f16", "tale-q4_K_M"):
        theirs = project.folder / "theirs"
        theirs.mkdir(exist_ok=True)
        run = [splitter, "--split", *said, project.folder / f"whole/{stem}.gguf", theirs / stem]
        subprocess.run(run, check=True, capture_output=True)
        names = sorted(path.name for path in theirs.glob(f"{stem}-*.gguf"))
        ours = project.folder / "parts"
        if len(names) == 1:
            assert (ours / f"{stem}.gguf").read_bytes() == (project.folder / f"whole/{stem}.gguf").read_bytes()
            continue
        assert sorted(path.name for path in ours.glob(f"{stem}*.gguf")) == names
        assert all((ours / name).read_bytes() == (theirs / name).read_bytes() for name in names)
        assert ggufs.parts(names[-1], names) == names


@pytest.mark.parametrize(
    "options", [["--split-max-tensors", "6"], ["--no-tensor-first-split", "--split-max-size", "1M"]]
)
def test_a_base_of_parts_is_the_file_that_llama_gguf_split_merges_them_to(project: Project, options: list[str]) -> None:
    splitter = tool("llama-gguf-split")
    project.run("export", "tale", "whole")
    for stem in ("tale-f16", "tale-q4_K_M"):
        theirs = project.folder / f"parts-{stem}"
        theirs.mkdir()
        split = [splitter, "--split", *options, project.folder / f"whole/{stem}.gguf", theirs / "x"]
        subprocess.run(split, check=True, capture_output=True)
        first = min(theirs.glob("x-00001-of-*.gguf"))
        merged = project.folder / f"{stem}-merged.gguf"
        subprocess.run([splitter, "--merge", first, merged], check=True, capture_output=True)
        project.write("parts.toml", f'[model.parts]\nfrom = "./{first.relative_to(project.folder)}"\n')
        project.run("-f", "parts.toml", "parts")
        assert first.name != "x-00001-of-00001.gguf" and project.blob("parts:latest", "model") == merged.read_bytes()


# Presets


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pinned llama.cpp's reader of presets, as a program."""
    source, compiler = os.environ.get("MODELBUILD_LLAMA_SRC"), shutil.which("c++")
    library = tool("libllama-common.so")
    if not source or not compiler:
        pytest.skip("no source of llama.cpp, or no c++")
    made = tmp_path_factory.mktemp("presets") / "presets"
    code = Path(__file__).parents[1] / "peers/presets.cpp"
    includes = [f"-I{source}/{each}" for each in ("common", "include", "ggml/include", "vendor")]
    libraries = [
        f"-L{library.parent}",
        "-lllama-common",
        "-lllama",
        "-lggml",
        "-lggml-base",
        f"-Wl,-rpath,{library.parent}",
    ]
    subprocess.run([compiler, "-std=c++17", "-O0", *includes, str(code), "-o", str(made), *libraries], check=True)
    return made


def read(reader: Path, folder: Path) -> dict[str, list[str]]:
    """Model -> its arguments, as the server's router has them."""
    run = [reader, folder, folder / "presets.ini"]
    done = subprocess.run(run, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert not [line for line in lines if line[0] == "unknown"], "each section is of a model that the folder has"
    return {name: arguments for kind, name, *arguments in lines if kind == "model"}


def test_llama_servers_own_reader_takes_the_presets(project: Project, reader: Path) -> None:
    project.run("export", "--as", "llama-server", "tale", "srv")
    found = read(reader, project.folder / "srv")
    assert sorted(found) == ["tale-f16", "tale-q4_K_M"]
    said = found["tale-f16"]
    pairs = dict(zip(said[::2], said[1::2], strict=True))
    expected = {
        "--temperature": "0.25", "--ctx-size": "1024", "--n-predict": "64", "--seed": "7", "--top-k": "20", "--top-p": "0.9",
        "--min-p": "0.05", "--typical-p": "0.95", "--repeat-last-n": "32", "--repeat-penalty": "1.1", "--presence-penalty": "0.5",
        "--frequency-penalty": "0.25", "--batch-size": "256", "--n-gpu-layers": "3", "--main-gpu": "0", "--threads": "2",
        "--keep": "4", "--load-mode": "none",
        "--spec-draft-n-max": "5", "--reverse-prompt": "<|end|>", "--model": str(project.folder / "srv/tale-f16.gguf"),
    }  # fmt: skip
    assert pairs == expected


@pytest.mark.parametrize("name", ["mmproj-x", "mtp-x", "a.gguf.b", "x-00001-of-00002", "con"])
def test_a_model_of_any_name_is_found_once(project: Project, reader: Path, name: str) -> None:
    toml = f'[model.m]\nfrom = "./weights"\nname = "{name}"\nquantize = "q4_0"\nparameters = {{ top_k = 1 }}\n'
    project.write("ModelBuild.toml", toml)
    project.run("export", "--as", "llama-server", "m", "srv")
    ((found, arguments),) = read(reader, project.folder / "srv").items()
    assert found in (name, f"_{name}") and "--top-k" in arguments and "--mmproj" not in arguments
    project.run("export", "--as", "llama-server", "m", "split", "--split", "6")
    ((found, arguments),) = read(reader, project.folder / "split").items()
    model = arguments[arguments.index("--model") + 1]
    assert "-00001-of-0000" in Path(model).name and "--mmproj" not in arguments


# Layouts


@pytest.mark.parametrize("shape", ["oci", "modelpack", "docker-model"])
def test_skopeo_reads_and_copies_a_layout(project: Project, shape: str) -> None:
    skopeo = shutil.which("skopeo")
    if skopeo is None:
        pytest.skip("skopeo is not installed")
    project.run("export", "--as", shape, "tale", "out")
    out = project.folder / "out"
    for tag in ("f16", "q4_K_M"):
        raw = subprocess.run([skopeo, "inspect", "--raw", f"oci:{out}:{tag}"], check=True, capture_output=True).stdout
        digest = "sha256:" + hashlib.sha256(raw).hexdigest()
        listed = json.loads((out / "index.json").read_text())["manifests"]
        assert digest in [each["digest"] for each in listed]
        copied = project.folder / f"copied-{tag}"
        subprocess.run(
            [skopeo, "copy", "-q", "--preserve-digests", f"oci:{out}:{tag}", f"oci:{copied}:{tag}"], check=True
        )
        manifest = json.loads(raw)
        for each in (manifest["config"], *manifest["layers"]):
            algorithm, _, name = each["digest"].partition(":")
            data = (copied / "blobs" / algorithm / name).read_bytes()
            assert len(data) == each["size"] and hashlib.sha256(data).hexdigest() == name


@pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
@pytest.mark.parametrize(
    ("shape", "split"), [("oci", []), ("modelpack", ["--split", "9"]), ("docker-model", ["--split", "9"])]
)
def test_skopeo_copies_what_was_pushed_into_a_layout_as_it_was_exported(
    project: Project, tmp_path: Path, shape: str, split: list[str]
) -> None:
    skopeo = shutil.which("skopeo")
    if skopeo is None:
        pytest.skip("skopeo is not installed")
    project.run("tale:f16")
    with DockerRegistry(tmp_path / "registry") as registry:
        name = f"{registry.host}/team/tale:v1"
        push = ["push", "tale:f16", "--to", name, "--as", shape, *split]
        told = json.loads(project.run("--json", *push).splitlines()[0])
        before = len(registry.log())
        assert json.loads(project.run("--json", *push).splitlines()[0])["state"] == "unchanged"
        assert ["HEAD" in line for line in registry.log()[before:]] == [True]
        source = ["--src-tls-verify=false", "--preserve-digests", f"docker://{name}", f"oci:{tmp_path / 'copied'}:v1"]
        subprocess.run([skopeo, "copy", "-q", *source], check=True)
    project.run("export", "--as", shape, *split, "tale:f16", "out")
    out, copied = project.folder / "out/blobs/sha256", tmp_path / "copied/blobs/sha256"
    (listed,) = json.loads((project.folder / "out/index.json").read_text())["manifests"]
    assert told["manifest"] == listed["digest"] and told["as"] == shape
    assert {each.name: each.read_bytes() for each in out.iterdir()} == {
        each.name: each.read_bytes() for each in copied.iterdir()
    }


# Weights


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    process = Process(tmp_path_factory.mktemp("runtime"), "runtime.py")
    yield process
    process.close()


@pytest.mark.parametrize(
    ("model", "name", "targets"),
    [
        ("llama", "bf16", adapters.ALL),
        ("qwen2", "tied", adapters.ALL),
        ("phi3", "4k", adapters.ALL),
        ("mixtral", "eight experts", r".*(q_proj|w1|w2|w3)"),
    ],
)
@pytest.mark.parametrize("split", [[], ["--split", "9"]])
def test_transformers_says_with_the_weights_what_the_runtime_says_with_the_gguf(
    model: str, name: str, targets: str, split: list[str], runtime: Process, tmp_path: Path
) -> None:
    case = zoo.cases(model)[name]
    project = Project(tmp_path)
    zoo.write(tmp_path / "model", case)
    adapters.write_peft(tmp_path / "lora", adapters.factors(case.shapes, targets))
    pre = f'pre = "{case.pre}"\n' if case.pre else ""
    toml = f'[model.m]\nfrom = "./model"\nouttype = "f32"\n{pre}adapters = [{{ path = "./lora", mode = "merge" }}]\n'
    project.write("ModelBuild.toml", toml)
    project.run("export", "--as", "safetensors", "m", "weights", *split)
    project.run("export", "m", "m.gguf")
    assert (tmp_path / "weights/model.safetensors.index.json").exists() == bool(split)
    tokens: Any = decode_value(read_header(str(tmp_path / "m.gguf")).table.metadata["tokenizer.ggml.tokens"])
    letter = next(number for number, token in enumerate(tokens) if token in ("\u2581a", "a"))
    job = {"folder": str(tmp_path / "weights"), "model": str(tmp_path / "m.gguf"), "tokens": text(len(tokens))}
    answer = runtime.ask(do="logits", **job, letter=letter)
    assert answer["error"] is None, answer["error"]
    assert answer["positions"] >= 200 and answer["same"] >= 0.95 * answer["positions"], answer
    assert answer["difference"] < 0.001, answer
    # Without the adapter it says something else: the weights are those with it.
    unchanged = runtime.ask(do="logits", **{**job, "folder": str(tmp_path / "model")}, letter=letter)
    assert unchanged["difference"] > 0.01, unchanged
