"""Adapters as a user has them: layers and merges, one edited, all built again, and what is wrong with one before anything is written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from modelbuild.ollama import manifest
from modelbuild.ollama.library import Library
from modelbuild.tensors.formats import gguf
from tests import adapters, peft, zoo

from .in_process import InProcess
from .project import Project

CASE = zoo.cases("llama")["bf16"]
TOML = """
[model.tales]
from = "./base"
quantize = "q8_0"
matrix.voice = ["one", "two"]
adapters = [{ path = "${matrix.voice}", mode = "merge" }]
[model.layered]
from = "./base"
adapters = [{ path = "one" }, { path = "mlx", scale = 0.5 }]
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    zoo.write(tmp_path / "base", CASE)
    pairs = adapters.factors(CASE.shapes, r".*(q_proj|v_proj)")
    adapters.write_peft(tmp_path / "one", pairs)
    adapters.write_peft(tmp_path / "two", pairs, lora_alpha=16)
    adapters.write_mlx(tmp_path / "mlx", pairs)
    made = InProcess(tmp_path)
    made.write("ModelBuild.toml", TOML)
    return made


def test_only_what_an_adapter_changes_is_computed(project: Project) -> None:
    counts = []
    for row in ("one", "two"):
        project.build(f"tales:{row}")
        summary = project.events[-1]
        counts.append((summary["tensors_computed"], summary["tensors_reused"]))
    assert counts == [(21, 0), (4, 17)]


def test_an_embedding_that_is_saved_again_as_the_output_builds_where_there_is_no_output(tmp_path: Path) -> None:
    case = zoo.cases("gemma")["bf16"]
    zoo.write(tmp_path / "base", case)
    project = InProcess(tmp_path)
    project.write("ModelBuild.toml", '[model.g]\nfrom = "./base"\nadapters = [{ path = "lora", mode = "merge" }]\n')
    shape = case.shapes["model.embed_tokens.weight"]

    def write(values: dict[str, str]) -> None:
        more = {f"base_model.model.{name}.weight": adapters.matrix(said, *shape) for name, said in values.items()}
        adapters.write_peft(tmp_path / "lora", {}, more=more)

    write({"model.embed_tokens": "e", "lm_head": "e"})
    project.build()
    write({"lm_head": "o"})
    project.run("check", code=1)
    assert "the adapter has an output matrix of its own" in project.errors
    write({"model.embed_tokens": "e", "lm_head": "o"})
    project.run("build", code=1)
    assert "the adapter has an output matrix of its own" in project.errors


def test_an_edited_adapter_rebuilds_what_it_is_in(project: Project) -> None:
    project.build()
    assert project.build() == {}
    adapters.write_peft(project.folder / "two", adapters.factors(CASE.shapes, r".*q_proj"), lora_alpha=4)
    ran = project.build()
    assert set(ran.values()) == {"ran"}
    assert {step.partition("/")[0] for step in ran} <= {"tales", "tales:two"}


def test_layers_are_in_the_manifest_in_order(project: Project) -> None:
    project.build("layered")
    library = Library(str(project.models))
    path = Path(library.manifest_path("registry.ollama.ai/library/layered/latest"))
    listed = manifest.Manifest.parse(path.read_bytes()).layers
    assert [layer.media_type.rpartition(".")[2] for layer in listed][:3] == ["model", "adapter", "adapter"]


MERGES = """
[model.merged]
from = "./base"
quantize = "${matrix.quant}"
adapters = [{ path = "one", mode = "merge", scale = 0.7 }, { path = "two", mode = "merge" }, { path = "dora", mode = "merge" }]
matrix.quant = ["f16", "q4_0"]
[model.experts]
from = "./moe"
adapters = [{ path = "fused", mode = "merge" }]
"""


def test_merges_are_the_same_with_every_number_of_threads_and_every_kernel(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = adapters.factors(CASE.shapes)
    more = {
        f"base_model.model.{module}.lora_magnitude_vector": np.abs(adapters.matrix(f"{module}.m", pair["B"].shape[0]))
        + 1
        for module, pair in pairs.items()
    }
    adapters.write_peft(project.folder / "dora", pairs, more=more, use_dora=True)
    golden = peft.CASES["fused, rows first"]
    zoo.write(project.folder / "moe", golden.base)
    shutil.copytree(peft.GOLDEN / peft.NEW / "fused, rows first" / "adapter-1", project.folder / "fused")
    project.write("ModelBuild.toml", MERGES)
    found = []
    for kernels, jobs in (("", 1), ("", 5), ("numpy", 2)):
        if kernels:
            monkeypatch.setenv("MODELBUILD_KERNELS", kernels)
        name = f"{kernels or 'native'}-{jobs}"
        models = project.folder / "models" / name
        project.build("-j", str(jobs), "--memory", "16MiB", cache=project.folder / "cache" / name, models=models)
        assert project.summary["tensors_computed"] > 40
        blobs = project.tree(models / "blobs")
        found.append(
            (
                set(blobs),
                {name: project.manifest(name, models) for name in ("merged:f16", "merged:q4_0", "experts:latest")},
            )
        )
    assert all(each == found[0] for each in found)


def test_show_says_what_was_applied(project: Project) -> None:
    assert json.loads(project.run("show", "tales:one", "--json"))["adapters"][0]["pairs"] is None
    project.build()
    (merged,) = json.loads(project.run("show", "tales:one", "--json"))["adapters"]
    assert (merged["mode"], merged["pairs"], merged["applied"], merged["left"]) == ("merge", 4, 4, [])
    assert sorted(merged["tensors"]) == [f"blk.{block}.attn_{part}.weight" for block in (0, 1) for part in "qv"]
    shapes = {"q_proj": (64, 64), "v_proj": (32, 64)}
    added = before = 0.0
    pairs = adapters.factors(CASE.shapes, r".*(q_proj|v_proj)")
    for part in shapes:
        module = f"model.layers.0.self_attn.{part}"
        added += float(np.square(2.0 * pairs[module]["B"].astype(float) @ pairs[module]["A"]).sum())
        _, _, data = zoo.tensor(f"{module}.weight", "bf16", shapes[part])
        wide = (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4").astype(float)
        before += float(np.square(wide).sum())
    assert merged["blocks"]["0"] == pytest.approx((added / before) ** 0.5, rel=1e-6)
    first, second = json.loads(project.run("show", "layered", "--json"))["adapters"]
    assert (first["mode"], second["mode"]) == ("layer", "layer")
    assert first["blocks"]["0"] == pytest.approx(merged["blocks"]["0"], rel=1e-6)
    assert second["blocks"]["1"] == pytest.approx(first["blocks"]["1"] / 2, rel=1e-6)
    assert "4 of 4 pairs applied to 4 tensors" in project.run("show", "tales:two")


def blobs(project: Project, name: str, kind: str) -> list[Path]:
    library = Library(str(project.models))
    path = Path(library.manifest_path(f"registry.ollama.ai/library/{name}/latest"))
    layers = manifest.Manifest.parse(path.read_bytes()).layers
    return [Path(library.blob_path(layer.digest)) for layer in layers if layer.media_type.endswith(f".{kind}")]


def as_gguf(project: Project, outtype: str) -> Path:
    """The adapter `one` as llama.cpp has it."""
    layered = f'[model.layered]\nfrom = "./base"\nouttype = "{outtype}"\nadapters = [{{ path = "one" }}]\n'
    project.write("ModelBuild.toml", layered)
    project.build()
    return Path(shutil.copy(blobs(project, "layered", "adapter")[0], project.folder / "one.gguf"))


def test_a_gguf_adapter_is_proved_and_stays_as_it_is(project: Project) -> None:
    file = as_gguf(project, "q8_0")
    tables = "".join(
        f'[model.{name}]\nfrom = "./base"\nadapters = [{{ path = "one.gguf", {more} }}]\n'
        for name, more in (("whole", "scale = 1"), ("half", "scale = 0.5"), ("merged", 'mode = "merge"'))
    )
    modelfile = '[model.both]\nmodelfile = "Modelfile"\n'
    project.write("Modelfile", "FROM ./one.gguf\nFROM ./base.gguf\n")
    shutil.copy(blobs(project, "layered", "model")[0], project.folder / "base.gguf")
    project.write("ModelBuild.toml", tables + modelfile)
    project.build()
    for name in ("whole", "both"):
        assert blobs(project, name, "adapter")[0].read_bytes() == file.read_bytes()
    found = {}
    for name, mode in (("whole", "layer"), ("half", "layer"), ("merged", "merge"), ("both", "layer")):
        (one,) = json.loads(project.run("show", name, "--json"))["adapters"]
        assert (one["mode"], one["pairs"], one["applied"], one["left"]) == (mode, 4, 4, [])
        assert one["path"].endswith("one.gguf") and len(one["tensors"]) == 4
        found[name] = one["blocks"]["0"]
    assert found["whole"] == pytest.approx(found["merged"], rel=1e-6)
    assert found["half"] == pytest.approx(found["whole"] / 2, rel=1e-6)
    assert "one.gguf: 4 of 4 pairs applied to 4 tensors" in project.run("show", "whole")


def test_a_quantized_gguf_base_is_rounded_once_more(project: Project) -> None:
    project.write("ModelBuild.toml", '[model.q]\nfrom = "./base"\nquantize = "q8_0"\n')
    project.build()
    shutil.copy(blobs(project, "q", "model")[0], project.folder / "q.gguf")
    toml = '[model.m]\nfrom = "./q.gguf"\nquantize = "q4_0"\nadapters = [{ path = "one", mode = "merge" }]\n'
    project.write("ModelBuild.toml", toml + "allow_requantize = true\n")
    project.run("m")
    assert "4 tensors of the model are quantized a second time" in project.errors
    assert "to       the type of this model, in one rounding" in project.errors
    table = gguf.survey(str(blobs(project, "m", "model")[0])).table
    assert table.tensors["blk.0.attn_q.weight"].dtype == "q4_0"


def test_a_base_of_any_kind_gives_the_same_weights(project: Project) -> None:
    project.write("ModelBuild.toml", '[model.base]\nfrom = "./base"\n')
    project.build()
    library = Library(str(project.models))
    path = Path(library.manifest_path("registry.ollama.ai/library/base/latest"))
    blob = manifest.Manifest.parse(path.read_bytes()).layers[0].digest
    shutil.copy(library.blob_path(blob), project.folder / "base.gguf")
    project.run("cp", "base", "kept")
    project.write(
        "ModelBuild.toml",
        "".join(
            f'[model.{name}]\nfrom = "{base}"\nadapters = [{{ path = "one", mode = "merge" }}]\n'
            for name, base in (("a", "./base"), ("b", "./base.gguf"), ("c", "plain"), ("d", "kept"))
        )
        + '[model.plain]\nfrom = "./base"\n',
    )
    project.build()
    digests = set()
    for name in "abcd":
        path = Path(library.manifest_path(f"registry.ollama.ai/library/{name}/latest"))
        digests.add(manifest.Manifest.parse(path.read_bytes()).layers[0].digest)
    assert len(digests) == 1 and blob not in digests


@pytest.mark.parametrize("target", ["tales:two", "layered"])
def test_a_broken_adapter_writes_nothing(target: str, project: Project) -> None:
    name = {"tales:two": "two", "layered": "one"}[target]
    config = json.loads((project.folder / name / "adapter_config.json").read_text())
    (project.folder / name / "adapter_config.json").write_text(json.dumps({**config, "r": 8}))
    project.run(target, code=1)
    assert (
        f"error: {name}/adapter_model.safetensors" in project.errors or "expect rank 8, got 4 and 4" in project.errors
    )
    assert not project.models.exists() or not any(path.is_file() for path in project.models.rglob("*"))


def test_a_base_with_another_name_is_a_warning(project: Project) -> None:
    config = json.loads((project.folder / "base" / "config.json").read_text())
    (project.folder / "base" / "config.json").write_text(json.dumps({**config, "_name_or_path": "acme/Tiny-1B"}))
    pairs = adapters.factors(CASE.shapes, r".*(q_proj|v_proj)")
    adapters.write_peft(project.folder / "one", pairs, base_model_name_or_path="acme/Tiny-1B-bnb-4bit")
    adapters.write_peft(project.folder / "two", pairs, base_model_name_or_path="acme/Other-1B")
    project.run("check")
    assert project.errors.count("the adapter was trained on") == 1
    assert (
        "two/adapter_config.json: the adapter was trained on 'acme/Other-1B', and the model is 'Tiny 1B'"
        in project.errors
    )


def test_what_changes_an_adapter_is_explained(project: Project) -> None:
    project.run()
    edits = {
        'mode = "merge" }': (
            'mode = "merge", scale = 0.5 }',
            "adapter scale changed: ModelBuild.toml:6:1 (1.0 -> 0.5)",
        ),
        ', { path = "mlx", scale = 0.5 }]': ("]", "adapter was removed: ModelBuild.toml"),
        '"merge" }]': ('"merge" }, { path = "mlx", mode = "merge" }]', "adapter is new: ModelBuild.toml:6:1"),
    }
    for old, (new, cause) in edits.items():
        assert old in TOML
        project.write("ModelBuild.toml", TOML.replace(old, new))
        assert f"  {cause}\n" in project.run("explain"), new
