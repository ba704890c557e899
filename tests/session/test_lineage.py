"""What variants are based on."""

from __future__ import annotations

from pathlib import Path

from modelbuild.session.lineage import Kin, Lineage
from tests.projects import load, write

TOML = """
[model.narrator]
from = "./weights"
[model.narrator.matrix]
quantize = ["q8_0", "q4_K_M"]
[model.narrator.default]
quantize = "q4_K_M"
[model.rows]
from = "./weights"
[model.rows.matrix]
quantize = ["q8_0", "q4_K_M"]
[model.chat]
from = "narrator"
[model.loud]
from = "narrator:q8_0"
[model.both]
from = "rows"
quantize = "q6_K"
[model.pulled]
from = "llama3.2"
[model.found]
modelfile = "sub/Modelfile"
"""


def lineage(folder: Path) -> Lineage:
    write(folder, {"sub/Modelfile": "FROM weights\nFROM ./beside.gguf\n", "sub/weights/x": "", "weights/x": ""})
    return Lineage(load(folder, TOML))


def test_a_base_is_a_variant_a_path_or_the_name_of_anothers_model(tmp_path: Path) -> None:
    found = lineage(tmp_path)
    assert found.bases("chat") == ("narrator:q4_K_M",)
    assert found.bases("loud") == ("narrator:q8_0",)
    assert found.bases("both") == ("rows",), "either row will do: it quantizes anew"
    assert found.bases("pulled") == ("llama3.2",)
    assert found.bases("rows:q8_0") == (str(tmp_path / "weights"),)
    assert found.bases("found") == (str(tmp_path / "sub/weights"), str(tmp_path / "sub/beside.gguf"))


def test_a_line_goes_down_to_the_weights(tmp_path: Path) -> None:
    weights = str(tmp_path / "weights")
    assert list(lineage(tmp_path).line("chat")) == [
        Kin("chat", ("narrator:q4_K_M",)),
        Kin("narrator:q4_K_M", (weights,)),
        Kin(weights),
    ]


def test_a_circle_ends(tmp_path: Path) -> None:
    found = Lineage(load(tmp_path, '[model.a]\nfrom = "b"\n[model.b]\nfrom = "a"\n'))
    assert [kin.key for kin in found.line("a")] == ["a", "b"]
