"""Mixes, importance matrices and quantizing again, from the TOML to the file."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np

from tests.e2e.project import TINY, Project, flip


def reader(project: Project, name: str) -> gguf.GGUFReader:
    path = project.folder / "read.gguf"
    path.write_bytes(project.blob(name, "model"))
    return gguf.GGUFReader(path)


def types(project: Project, name: str) -> dict[str, str]:
    return {tensor.name: tensor.tensor_type.name for tensor in reader(project, name).tensors}


def importance(path: Path, names: list[str]) -> None:
    writer = gguf.GGUFWriter(path, "")
    writer.kv_data[0].pop("general.architecture", None)
    writer.add_type("imatrix")
    writer.add_array("imatrix.datasets", ["text.txt"])
    writer.add_uint32("imatrix.chunk_count", 3)
    writer.add_uint32("imatrix.chunk_size", 512)
    random = np.random.default_rng(1)
    for name in sorted(names):
        writer.add_tensor(f"{name}.in_sum2", random.random((1, TINY["hidden"]), dtype=np.float32))
        writer.add_tensor(f"{name}.counts", np.full((1, 1), 3, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_mix_gives_each_tensor_the_type_of_its_rule(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.checkpoint()
    project.write(
        "ModelBuild.toml",
        "[ftype.mine]\nbase = 'q4_K_M'\ntensors = { 'attn_v' = 'q6_K', 'blk\\.1\\.' = 'q8_0' }\noutput_tensor_type = 'f16'\n"
        '[model.a]\nfrom = "./weights"\n[model.a.matrix]\nquantize = ["mine", "q4_K_M"]\n',
    )
    project.build()
    found = types(project, "a:mine")
    assert (found["blk.0.attn_v.weight"], found["blk.1.attn_v.weight"]) == ("Q6_K", "Q6_K")
    assert (found["blk.1.ffn_up.weight"], found["blk.0.ffn_up.weight"]) == ("Q8_0", "Q4_K")
    assert found["output.weight"] == "F16"
    assert project.summary["tensors_reused"] > 0


def test_rule_that_fits_nothing_is_an_error(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.checkpoint()
    project.write(
        "ModelBuild.toml",
        "[ftype.mine]\nbase = 'q4_K_M'\ntensors = { 'atn_v' = 'q6_K' }\n[model.a]\nfrom = './weights'\nquantize = 'mine'\n",
    )
    project.run(code=1)
    assert "ModelBuild.toml:3:13: mix 'mine': no quantized tensor has a name that matches " in project.errors
    # Once the conversion is made nothing is looked through before the step itself runs.
    project.write("ModelBuild.toml", "[model.a]\nfrom = './weights'\nquantize = 'q8_0'\n")
    project.build()
    project.write(
        "ModelBuild.toml",
        "[ftype.mine]\nbase = 'q4_K_M'\n\n[ftype.mine.tensors]\n'attn_v' = 'q6_K'\n'a.*[0-9]\\.x' = 'q6_K'\n"
        "[model.a]\nfrom = './weights'\n[model.a.matrix]\nquantize = ['mine']\n",
    )
    project.build(code=1)
    (error,) = [event for event in project.events if event["event"] == "error"]
    assert error["place"].endswith("ModelBuild.toml:6:1")
    assert "used by  'a:mine'" in error["text"]


def test_importance_matrix_changes_bytes_and_is_told_of(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.checkpoint()
    names = [
        f"blk.{i}.{part}.weight" for i in range(2) for part in ("attn_q", "attn_k", "attn_v", "ffn_up", "ffn_gate")
    ]
    importance(tmp_path / "im.gguf", names)
    project.write(
        "ModelBuild.toml",
        '[model.a]\nfrom = "./weights"\nquantize = "q4_K_M"\n'
        '[model.b]\nfrom = "./weights"\nquantize = "q4_K_M"\nimatrix = "./im.gguf"\n',
    )
    project.build()
    fields = reader(project, "b:latest").fields
    assert bytes(fields["quantize.imatrix.file"].parts[-1]) == b"./im.gguf"
    assert fields["quantize.imatrix.entries_count"].parts[-1][0] == len(names)
    assert project.blob("a:latest", "model") != project.blob("b:latest", "model")
    # Tensors without importance are the same in both, and made once.
    assert project.summary["tensors_reused"] == 21 - len(names)
    flip(tmp_path / "im.gguf", (tmp_path / "im.gguf").stat().st_size - 40)
    assert "b/quantize" in project.build()


def test_quantizing_again_wants_leave(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.checkpoint()
    project.write("ModelBuild.toml", '[model.a]\nfrom = "./weights"\nquantize = "q8_0"\n')
    project.build()
    (tmp_path / "q8.gguf").write_bytes(project.blob("a:latest", "model"))
    toml = '[model.a]\nfrom = "./q8.gguf"\nquantize = "q4_0"\n'
    project.write("ModelBuild.toml", toml)
    for words in ([], ["check"], ["--set", "a.quantize=q4_1"]):
        project.run(*words, code=1)
        assert "allow_requantize = true" in project.errors
        place = "--set a.quantize=q4_1" if "--set" in words else "ModelBuild.toml:3:12: model 'a'"
        assert f"error: {place}: cannot make " in project.errors.replace(f"{tmp_path}/", "")
    project.write("ModelBuild.toml", toml + "allow_requantize = true\n")
    project.build()
    assert types(project, "a:latest")["blk.0.ffn_up.weight"] == "Q4_0"


def test_dry_run_tells_sizes_and_types(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.checkpoint()
    project.write("Modelfile", "FROM ./weights\n")
    output = project.run("-q", "q4_K_M", "-n")
    assert "MODEL SIZE" in output and "q4_k" in output
    assert not project.models.exists()


def test_mix_is_shown_by_its_name_and_with_what_it_holds(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.checkpoint()
    importance(tmp_path / "im.gguf", ["blk.0.attn_q.weight"])
    project.write(
        "ModelBuild.toml",
        "[ftype.mine]\nbase = 'q4_K_M'\ntensors = { 'attn_v' = 'q6_K' }\n"
        "[model.a]\nfrom = './weights'\nquantize = 'mine'\nimatrix = './im.gguf'\nallow_requantize = true\n"
        "[model.b]\nfrom = 'a'\nsystem = 'x'\n[model.c]\nfrom = './weights'\nquantize = 'q8_0'\n",
    )
    project.build()
    listed = json.loads(project.run("list", "--json"))
    assert {each["label"]: each["ftype"] for each in listed} == {"a": "mine", "b": "mine", "c": "q8_0"}
    assert [each["ftype"] for each in json.loads(project.run("quality", "a", "--json"))] == ["mine"]
    shown = json.loads(project.run("show", "a", "--json"))
    assert shown["mix"] == {
        "name": {"value": "mine", "place": "ModelBuild.toml:1:8"},
        "base": {"value": "q4_K_M", "place": "ModelBuild.toml:2:1"},
        "tensors": {"attn_v": {"value": "q6_k", "place": "ModelBuild.toml:3:13"}},
    }
    assert shown["values"]["imatrix"] == {"value": "./im.gguf", "place": "ModelBuild.toml:7:1"}
    assert shown["values"]["allow_requantize"] == {"value": True, "place": "ModelBuild.toml:8:1"}
    inherited = json.loads(project.run("show", "b", "--json"))
    assert inherited["mix"] == shown["mix"]
    assert inherited["values"]["imatrix"]["place"] == "inherited from 'a:latest'"
    assert json.loads(project.run("show", "c", "--json"))["mix"] is None
    assert "mix attn_v" in project.run("show", "a")
