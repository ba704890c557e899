"""What the command line says lies over everything."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelbuild.errors import Error
from modelbuild.project.overrides import Overrides, parse
from tests.projects import FROM, R, check_golden, complaint, labels, load, names


@pytest.mark.parametrize(
    ("option", "name"),
    [("me/bot:v2", "me/bot:v2"), ("bot", "bot:latest"), ("host:5000/a/bot", "host:5000/a/bot:latest")],
)
def test_t_names_and_q_quantizes_a_modelfile(tmp_path: Path, option: str, name: str) -> None:
    loaded = load(tmp_path, files={"a b/Modelfile": FROM}, file="a b/Modelfile", name=option, quantize="Q4_K")
    assert names(loaded) == [[name]]
    assert loaded.variants[0].quantize == "q4_K_M"
    assert not loaded.variants[0].quantize_from_defaults


def test_set_works_on_a_modelfile(tmp_path: Path) -> None:
    loaded = load(tmp_path, files={"a/Modelfile": FROM}, file="a/Modelfile", sets=("a.parameters.top_k=3",))
    assert loaded.variants[0].parameters == {"top_k": 3}


@pytest.mark.parametrize(
    ("option", "check"),
    [
        ("m.quantize=q8_0", lambda v: v.quantize == "q8_0"),
        ("*.quantize='q8_0'", lambda v: v.quantize == "q8_0"),
        ("m.tag=2", lambda v: v.names[0].tag == "2"),
        ("m.system=", lambda v: "system" in v.cleared),
        ("m.system=a = b", lambda v: v.string("system") == "a = b"),
        ("m.parameters={ seed = 3 }", lambda v: v.parameters == {"top_k": 1, "seed": 3}),
        ("m.parameters.stop=x", lambda v: v.parameters == {"top_k": 1, "stop": ["x"]}),
        ("m.requires=0.14", lambda v: v.string("requires") == "0.14"),
        ("m.imatrix=2024", lambda v: v.file("imatrix").text == "2024"),
        ('m.imatrix={ text = "c.txt", chunks = 3 }', lambda v: v.calibration.chunks == 3),
        ("m.template=false", lambda v: "template" in v.cleared),
        ("m.system=${x}", lambda v: v.string("system") == "X"),
        ('m.tags=["a"]', lambda v: [name.tag for name in v.names] == ["latest", "a"]),
    ],
)
def test_set_overrides_a_key(tmp_path: Path, option: str, check: object) -> None:
    toml = R + 'quantize = "f16"\nsystem = "s"\nparameters = { top_k = 1 }\n[vars]\nx = "X"\n'
    assert check(load(tmp_path, toml, sets=(option,)).variants[0])  # type: ignore[operator]


def test_set_reaches_models_whose_names_hold_dots(tmp_path: Path) -> None:
    loaded = load(tmp_path, '[model."llama3.2"]\nfrom = "x"\n', sets=("llama3.2.parameters.seed=1",))
    assert loaded.variants[0].parameters == {"seed": 1}


def test_set_can_replace_an_axis(tmp_path: Path) -> None:
    toml = R + 'matrix.quantize = ["q8_0", "f16"]\n'
    assert labels(load(tmp_path, toml, sets=('m.matrix.quantize=["q6_K"]',))) == ["m:q6_K"]


def test_what_names_a_label_of_a_replaced_axis_says_what_to_set_too(tmp_path: Path) -> None:
    rows = 'matrix.quantize = ["q8_0", "f16"]\nexclude = [{ quantize = "q8_0" }]\ndefault.quantize = "f16"\n'
    axis = 'm.matrix.quantize=["q6_K"]'
    said = complaint(tmp_path, R + rows, sets=(axis,))
    assert "axis 'quantize' has no 'f16'" in said
    default, clear = 'm.default.quantize="q6_K"', "m.exclude=[]"
    assert f"hint    set it too: --set '{default}'\n" in said and f"hint    clear it too: --set '{clear}'\n" in said
    assert labels(load(tmp_path, R + rows, sets=(axis, default, clear))) == ["m:q6_K"]
    assert "did you mean 'q6_K'?" in complaint(tmp_path, R + rows, sets=(axis, 'm.default.quantize="q6_L"', clear))


OPTIONS: dict[str, dict[str, object]] = {
    "set-no-key": {"sets": ("m=5",)},
    "set-no-value": {"sets": ("m.system",)},
    "set-unknown-key": {"sets": ("m.sytem=x",)},
    "set-unknown-model": {"sets": ("n.system=x", "n*.system=x")},
    "set-bad-type": {"sets": ("m.parameters=x", "m.template=true", "m.parameters.seed=often")},
    "set-bad-value": {"sets": ("m.quantize=q9",)},
    "set-extends": {"sets": ("m.extends=m",)},
    "set-axis": {"sets": ("r.quantize=q8_0",)},
    "set-unknown-variable": {"sets": ("m.system=${y}",)},
    "var-option-unknown": {"vars": {"y": "1"}},
    "var-option-type": {"vars": {"x": "many"}},
    "t-for-a-toml": {"name": "x"},
    "q-for-a-toml": {"quantize": "q8_0"},
}


@pytest.mark.parametrize("case", OPTIONS)
def test_options_of_the_command_line_are_checked(case: str, tmp_path: Path) -> None:
    toml = R + '[model.r]\nfrom = "x"\nmatrix.quantize = ["q8_0"]\n[vars]\nx = 1\n'
    check_golden(case, complaint(tmp_path, toml, **OPTIONS[case]))


@pytest.mark.parametrize(
    ("option", "pattern", "values"),
    [
        ("m.quantize=q8_0", "m", {"quantize": "q8_0"}),
        ("a.b*.tag=2", "a.b*", {"tag": "2"}),
        ("m.allow_requantize=true", "m", {"allow_requantize": True}),
        ("m.parameters.seed=7", "m", {"parameters": {"seed": 7}}),
        ("m.template=false", "m", {"template": False}),
        ("m.system={ file = 's' }", "m", {"system": {"file": "s"}}),
        ('m.system="a"', "m", {"system": "a"}),
        ("m.tags=[x", "m", {"tags": "[x"}),
    ],
)
def test_a_value_is_toml_or_a_string_as_it_stands(option: str, pattern: str, values: dict[str, object]) -> None:
    parsed = parse(option)
    assert (parsed.pattern, parsed.values) == (pattern, values)
    assert str(parsed.place) == f"--set {option}"


@pytest.mark.parametrize("option", ["", "m", "m=5", "m.zz=1", "m.extends=a"])
def test_what_names_no_key_of_a_model_cannot_be_set(option: str) -> None:
    with pytest.raises(Error):
        parse(option)


def test_t_and_q_are_tables_of_their_own() -> None:
    tables = Overrides(name="me/bot:v2", quantize="q8_0").tables()
    assert [table.values for table in tables] == [{"name": "me/bot", "tag": "v2"}, {"quantize": "q8_0"}]
    assert [str(table.place) for table in tables] == ["-t me/bot:v2", "-q q8_0"]
    assert Overrides().tables() == []
