"""llama.cpp's own converter, llama-imatrix and llama-perplexity, run by steps: the files are those of a chain of these tools by hand."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests import checkpoints, zoo
from tests.e2e.project import Project
from tests.e2e.test_projectors import SEEING

from .peers import Peers, same

JAMBA: dict[str, Any] = {
    "vocab_size": 288, "hidden_size": 256, "intermediate_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 2, "attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2, "expert_layer_offset": 1,
    "num_experts": 2, "num_experts_per_tok": 1, "mamba_d_state": 16, "mamba_dt_rank": 16, "use_mamba_kernels": False,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip


@pytest.fixture
def project(tmp_path: Path) -> Project:
    if "MODELBUILD_LLAMA_SRC" not in os.environ:
        pytest.skip("MODELBUILD_LLAMA_SRC names no source of llama.cpp")
    return Project(tmp_path)


def tools(project: Project, source: str | None = None) -> str:
    """The table that names the peers' tools."""
    binaries = next(Path(os.environ["MODELBUILD_LLAMA_CPP"]).rglob("bin/llama-imatrix"), None)
    if binaries is None:
        pytest.skip("MODELBUILD_LLAMA_CPP has no llama-imatrix")
    named = {
        "llama_cpp": source or os.environ["MODELBUILD_LLAMA_SRC"],
        "python": os.environ["MODELBUILD_PEERS_PYTHON"],
        "binaries": str(binaries.parent),
    }
    return "[tools]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in named.items())


def served(project: Project, tag: str = "latest") -> bytes:
    """The weights of a model that was built."""
    manifest = json.loads((project.models / f"manifests/registry.ollama.ai/library/m/{tag}").read_text())
    (blob,) = [each["digest"] for each in manifest["layers"] if each["mediaType"].endswith(".model")]
    return (project.models / "blobs" / blob.replace(":", "-")).read_bytes()


def states(project: Project, **options: Any) -> set[str]:
    return {name for name, state in project.build(**options).items() if state == "ran"}


@pytest.mark.peer
def test_a_class_that_is_not_supported_becomes_what_the_chain_makes(project: Project, peers: Peers) -> None:
    folder = project.folder / "Jamba-tiny"
    peers.make(folder, of="Jamba", config=JAMBA)
    (folder / "tokenizer.model").write_bytes(checkpoints.pieces())
    source = copied(project.folder / "llama.cpp")
    toml = '[defaults]\nconvert = ["native", "llama.cpp"]\n' + tools(project, str(source))
    project.write("ModelBuild.toml", toml + '[model.m]\nfrom = "./Jamba-tiny"\nquantize = "q4_K_M"\n')
    assert states(project) >= {"m/converted", "m/quantize", "m/model", "m/manifest"}
    (tool,) = [event for event in project.events if event["event"] == "tool"]
    assert tool["tool"] == "llama.cpp's converter"
    peers.convert(folder, "auto")
    same(served(project), peers.quantize("q4_K_M"), project.folder)
    assert states(project) == set()
    base = source / "conversion/base.py"
    base.write_text(base.read_text() + "\n")
    assert states(project) == {"m/converted"}


def copied(folder: Path) -> Path:
    """The converter of the peers, to be changed."""
    source = Path(os.environ["MODELBUILD_LLAMA_SRC"])
    folder.mkdir()
    shutil.copy(source / "convert_hf_to_gguf.py", folder)
    for name in ("conversion", "gguf-py/gguf"):
        shutil.copytree(source / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.mark.peer
def test_an_importance_matrix_of_a_step_is_the_one_of_the_chain_and_a_gate_judges(
    project: Project, peers: Peers
) -> None:
    folder = checkpoints.write(project.folder / "weights", max_position_embeddings=512)
    chance = random.Random(1)
    text = " ".join(
        chance.choice(["aabcdefghij", "klmno", "pqrstu", "vwxyz"]) * chance.randrange(1, 4) for _ in range(2500)
    )
    project.write("calibration.txt", text)
    toml = (
        tools(project)
        + """
[model.m]
from = "./weights"
imatrix = { text = "calibration.txt", chunks = 2 }
[model.m.gate]
kld = 0.002
[model.m.matrix]
quantize = ["q8_0", "iq2_xxs"]
"""
    )
    if "iq2_xxs" not in _types():
        toml = toml.replace("iq2_xxs", "q2_K")
    project.write("ModelBuild.toml", toml)
    project.build(code=1)
    assert "the model falls short" in project.errors
    assert {event["name"] for event in project.events if event["event"] == "variant"} == {"m:q8_0"}
    project.write("ModelBuild.toml", toml.replace("kld = 0.002", "kld = 50"))
    assert "m/imatrix" not in states(project)
    chain(project, peers, folder, "q2_K" if "q2_K" in toml else "iq2_xxs")


def _types() -> tuple[str, ...]:
    from modelbuild.tensors import ftypes

    return tuple(ftypes.FTYPES)


def chain(project: Project, peers: Peers, folder: Path, ftype: str) -> None:
    """The same by hand, in a folder of its own."""
    work = project.folder / "by hand"
    work.mkdir()
    shutil.copy(project.folder / "calibration.txt", work)
    (work / "model.gguf").write_bytes(peers.convert(folder, "auto"))
    binaries = peers.quantizer.parent
    command = [
        binaries / "llama-imatrix",
        "-m",
        "model.gguf",
        "-f",
        "calibration.txt",
        "-o",
        "imatrix.gguf",
        "--chunks",
        "2",
    ]
    subprocess.run(command, cwd=work, check=True, capture_output=True)
    command = [peers.quantizer, "--imatrix", "imatrix.gguf", "model.gguf", "quantized.gguf", ftype, "2"]
    subprocess.run(command, cwd=work, check=True, capture_output=True)
    same(served(project, ftype), (work / "quantized.gguf").read_bytes(), project.folder)


@pytest.mark.peer
def test_a_checkpoint_that_sees_becomes_the_same_whoever_converts_it(project: Project) -> None:
    zoo.write(project.folder / "base", SEEING)
    models = '[model.ours]\nfrom = "./base"\n[model.m]\nfrom = "./base"\nconvert = ["llama.cpp"]\n'
    project.write("ModelBuild.toml", tools(project) + models)
    assert {"m/converted", "m/model", "ours/model"} <= states(project)
    for kind in ("model", "projector"):
        same(project.blob("ours:latest", kind), project.blob("m:latest", kind), project.folder)
