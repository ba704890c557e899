"""The project's own ftypes."""

from __future__ import annotations

import json
from pathlib import Path

from modelbuild.project.locate import recalled
from tests.projects import FROM, M, load, names, one

MIX = r"""
[ftype.mine]
leave_output_tensor = false
token_embedding_type = "${embedding}"
tensors = { 'ffn_.*_exps' = "Q4_K", 'attn_v\.weight$' = "q6_K", 'attn' = "${attention}" }
base = "Q5_K"
pure = "${pure}"
[vars]
embedding = "Q8_0"
attention = "BF16"
pure = true
"""


MINE = {
    "base": "q5_K_M",
    "tensors": [["ffn_.*_exps", "q4_k"], [r"attn_v\.weight$", "q6_k"], ["attn", "bf16"]],
    "pure": True,
    "token_embedding_type": "q8_0",
}


def test_a_mix_is_normalized_and_keeps_the_order_of_its_rules(tmp_path: Path) -> None:
    made = one(tmp_path, M + 'quantize = "mine"\n' + MIX)
    assert (made.quantize, made.ftype) == ("mine", "q5_K_M")
    assert json.dumps(made.mix) == json.dumps(MINE)
    full = MIX.replace("leave_output_tensor = false", 'leave_output_tensor = true\noutput_tensor_type = "F16"')
    assert one(tmp_path, M + 'quantize = "mine"\n' + full).mix == {
        **MINE, "leave_output_tensor": True, "output_tensor_type": "f16",
    }  # fmt: skip


def test_what_a_mix_does_not_say_is_left_out(tmp_path: Path) -> None:
    says = 'base = "q4_0"\npure = false\ntensors = {}\noutput_tensor_type = ""\ntoken_embedding_type = ""\n'
    assert one(tmp_path, f'{M}quantize = "a.b-C"\n[ftype."a.b-C"]\n{says}').mix == {"base": "q4_0"}


def test_a_mix_can_stand_wherever_an_ftype_can(tmp_path: Path) -> None:
    files = {"m/Modelfile": FROM}
    made = one(tmp_path, '[defaults]\nquantize = "mine"\n' + M + MIX)
    assert (made.quantize, made.quantize_from_defaults, made.mix) == ("mine", True, MINE)
    rows = load(tmp_path, M + 'matrix.quantize = ["mine", "q8_0"]\ndefault.quantize = "mine"\n' + MIX, files)
    assert names(rows) == [["m:mine", "m:latest"], ["m:q8_0"]]
    assert [(each.label, each.ftype, each.mix) for each in rows.variants] == [
        ("m:mine", "q5_K_M", MINE),
        ("m:q8_0", "q8_0", None),
    ]
    for option in ("m.quantize=mine", "*.quantize='mine'"):
        assert load(tmp_path, M + MIX, files, sets=(option,)).variants[0].mix == MINE
    included = M + 'matrix.tone = ["a"]\ninclude = [{ tone = "a", quantize = "${type}" }]\n' + MIX + 'type = "mine"\n'
    assert load(tmp_path, included, files).variants[0].ftype == "q5_K_M"


def test_mixes_have_places(tmp_path: Path) -> None:
    made = one(tmp_path, M + 'quantize = "mine"\n' + MIX)
    place = made.mix_table and made.mix_table.at("tensors", r"attn_v\.weight$")
    error = place and place.error("fits no tensor", value=False)
    assert error is not None and (error.place, error.what) == ("ModelBuild.toml:8:37", "mix 'mine': fits no tensor")
    assert place and str(recalled(place.spelled(str(tmp_path)))) == "ModelBuild.toml:8:37"
    assert one(tmp_path, M + 'quantize = "q8_0"\n' + MIX).mix_table is None
