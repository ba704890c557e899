"""What is known of a variant once it is made."""

from __future__ import annotations

from pathlib import Path

from modelbuild.project.variant import modelfile_place
from tests.projects import FROM, M, one


def test_places_are_known(tmp_path: Path) -> None:
    toml = '[defaults]\nquantize = "f16"\n' + M + "parameters = { seed = 1 }\n[model.\"*\"]\nsystem = 'x'\n"
    made = one(tmp_path, toml, FROM + "PARAMETER top_k 1\nLICENSE x\nTEMPLATE t\n")
    places = {
        "quantize": "ModelBuild.toml:2:1",
        "system": "ModelBuild.toml:7:1",
        "modelfile": "ModelBuild.toml:4:1",
        "from": "m/Modelfile:1:1",
        "license": "m/Modelfile:3:1",
        "template": "m/Modelfile:4:1",
        "projector": "ModelBuild.toml:3:8",
    }
    assert {key: str(made.place(key)) for key in places} == places
    assert str(made.place("parameters", "seed")) == "ModelBuild.toml:5:16"
    assert str(made.place("parameters", "top_k")) == "m/Modelfile:2:1"


def test_the_last_line_of_a_modelfile_counts(tmp_path: Path) -> None:
    text = one(
        tmp_path, M, FROM + "SYSTEM a\nSYSTEM b\nPARAMETER stop x\nPARAMETER stop y\nMESSAGE user hi\n"
    ).modelfile
    assert text is not None
    asked = [("system", None), ("parameters", "stop"), ("parameters", "seed"), ("messages", None), ("quantize", None)]
    places = [modelfile_place(text, *each) for each in asked]
    assert [place and str(place) for place in places] == [
        "m/Modelfile:3:1", "m/Modelfile:5:1", None, "m/Modelfile:6:1", None,
    ]  # fmt: skip


def test_the_ftype_of_a_mix_is_its_base(tmp_path: Path) -> None:
    plain = one(tmp_path, M + 'quantize = "Q8_0"\n')
    mixed = one(tmp_path, M + 'quantize = "mine"\n[ftype.mine]\nbase = "Q4_K"\n')
    assert (plain.ftype, mixed.quantize, mixed.ftype) == ("q8_0", "mine", "q4_K_M")
