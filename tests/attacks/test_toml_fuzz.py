"""Whatever a ModelBuild.toml holds, the answer is a project or an error that can be rendered: never a traceback."""

from __future__ import annotations

import json
import math
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from modelbuild.errors import Error, Errors
from modelbuild.project import keys, schema
from modelbuild.project.document import shape
from modelbuild.project.locate import Place
from modelbuild.project.project import Project
from tests.at_length import examples
from tests.project.test_document import CASES, DESIGN

from ..projects import Kept, load, write

quick = settings(max_examples=examples(100), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path, {"m/Modelfile": "FROM ./x\nSYSTEM s\n", "a/Modelfile": "FROM m\n", "text": "T", "x/": ""})
    return tmp_path


def outcome(root: Path, toml: str, **options: Any) -> Project | str:
    """Load twice, over one keep: both answers must be the same."""
    keep = Kept()
    answers: list[Project | str] = []
    for _ in range(2):
        try:
            answers.append(load(root, toml, keep=keep, **options))
        except (Error, Errors) as error:
            answers.append(str(error))
            assert "Traceback" not in str(error)
    first, second = (_comparable(answer) for answer in answers)
    assert first == second
    return answers[0]


def _comparable(answer: Project | str) -> object:
    """An answer with its errors as texts: no two errors are equal."""
    if isinstance(answer, str):
        return answer
    broken = [(each._replace(errors=()), [str(error) for error in each.errors]) for each in answer.broken]
    assert all(texts for _, texts in broken)
    return answer.variants, broken, [str(warning) for warning in answer.warnings], answer.models, answer.targets.words


SNIPPETS = [
    *(
        "[model.a]\n",
        "[model.'a*']\n",
        "[defaults]\n",
        "[project]\n",
        "[vars]\n",
        "[group]\n",
        "[ftype.f]\n",
        "[model]\n",
    ),
    *(
        'from = "m"\n',
        'modelfile = "m/Modelfile"\n',
        'extends = "b"\n',
        'system = { file = "text" }\n',
        "template = false\n",
    ),
    *(
        'quantize = "q8_0"\n',
        'matrix.quantize = ["q8_0", "f16"]\n',
        'matrix = { x = { l = "v" } }\n',
        "include = [{}]\n",
    ),
    *('exclude = [{ quantize = "f16" }]\n', 'default = { x = "l" }\n', 'name = "${matrix.x}"\n', 'tags = ["t"]\n'),
    *('modelfiles = ["**/Modelfile"]\n', 'x = "${y}"\n', 'y = "${x}"\n', 'a = ["a", "g*"]\n', 'base = "q4_K_M"\n'),
    *(
        "parameters = { seed = 1 }\n",
        'adapters = [{ path = "l" }]\n',
        "[[model.a.include]]\n",
        "[model.b]\n",
        "= 1\n",
        '"',
    ),
    *(
        "\x00",
        "\ufeff",
        "\r\n",
        "'''",
        "🦙",
        "${",
        "\\u0000",
        "1979-05-27\n",
        "nan\n",
        "[model.a.matrix]\n",
        "[model.b.default]\n",
    ),
]


@given(st.lists(st.sampled_from(SNIPPETS) | st.text(max_size=8), max_size=16))
@quick
def test_toml_like_text(root: Path, pieces: list[str]) -> None:
    outcome(root, "".join(pieces).encode("utf-8", "replace").decode())


@given(st.data())
@quick
def test_the_designs_example_cut_and_patched(root: Path, data: st.DataObject) -> None:
    lines = DESIGN.splitlines()
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(lines) - 1))
        lines[at] = data.draw(st.sampled_from([*lines, "", *(line.rstrip() for line in SNIPPETS)]))
    outcome(root, "\n".join(lines))


words = st.sampled_from(
    [
        "a",
        "b",
        "m",
        "a*",
        "x",
        "q8_0",
        "Q4_K",
        "f16",
        "none",
        "",
        "${v}",
        "${n}",
        "${matrix.x}",
        "${matrix.x.value}",
        "text",
    ]
)
scalars = words | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3), max_leaves=6
)
texts = words | st.fixed_dictionaries({"file": st.sampled_from(["text", "none", "x", "${v}"])}) | anything
axes = st.lists(words, max_size=3) | st.dictionaries(words, words, max_size=3) | anything
labels = st.dictionaries(st.sampled_from(["x", "quantize", "y"]), words | st.lists(words, max_size=2), max_size=2)
parameters = st.dictionaries(st.sampled_from(["seed", "stop", "top_p", "use_mmap", "numa", "zz"]), anything, max_size=3)
KEYS: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(keys.KEYS, words),
    **dict.fromkeys(("system", "template", "license"), texts),
    "modelfile": st.sampled_from(["m/Modelfile", "a/Modelfile", "none", "x", "${v}/Modelfile"]),
    "parameters": parameters,
    "messages": st.lists(st.fixed_dictionaries({"role": words | st.just("user"), "content": texts}), max_size=2),
    "adapters": st.lists(
        st.fixed_dictionaries({"path": words}, optional={"scale": scalars, "mode": words}), max_size=2
    ),
    "matrix": st.dictionaries(
        st.sampled_from(["x", "quantize", "system", "parameters", "y", "name"]), axes, max_size=3
    ),
    "include": st.lists(labels | st.dictionaries(st.sampled_from(list(keys.KEYS)), anything, max_size=2), max_size=2),
    "exclude": st.lists(labels, max_size=2),
    "default": labels,
    "tags": st.lists(words, max_size=2),
    "push": st.lists(words | st.sampled_from(["r.example.com/a/b", "a/b:${v}"]), max_size=2),
    "metadata": st.dictionaries(
        st.sampled_from(["general.name", "general", "acme.x", "general.tags"]) | words, anything, max_size=3
    ),
}
LATER = ("imatrix", "allow_requantize")
tables = st.fixed_dictionaries({}, optional={key: value for key, value in KEYS.items() if key not in LATER})
documents = st.fixed_dictionaries(
    {},
    optional={
        "project": st.fixed_dictionaries(
            {},
            optional={
                "modelfiles": st.lists(
                    st.sampled_from(["**/Modelfile", "*/*", "m/**", "..", "", "[", "${v}", "/x/*", "~"])
                ),
                "default": st.lists(words, max_size=2),
                "models": words,
                "namespace": words,
                "discover_as": st.sampled_from(["{name}", "{parent}-{folder}", "{", "${v}{name}"]),
            },
        ),
        "defaults": tables,
        "model": st.dictionaries(st.sampled_from(["a", "b", "c/d", "a*", "*", "[", "x y"]), tables, max_size=4),
        "vars": st.fixed_dictionaries({}, optional={"v": scalars, "n": st.integers(0, 9), "w": words}),
        "group": st.dictionaries(words, st.lists(words, max_size=3), max_size=2),
        "ftype": st.dictionaries(
            words, st.fixed_dictionaries({"base": words}, optional={"tensors": st.dictionaries(words, words)})
        ),
    },
)


@given(documents)
@quick
def test_documents_of_the_right_shape(root: Path, document: dict[str, Any]) -> None:
    loaded = outcome(root, tomli_w.dumps(document))
    if isinstance(loaded, Project):
        names = [name.folded() for each in loaded.variants for name in each.names]
        assert len(set(names)) == len(names)
        labels = [each.label for each in loaded.variants]
        assert len(set(labels)) == len(labels)
        for each in loaded.variants:
            assert each.names
            assert (
                loaded.select([each.label]) == (each,)
                or each.label in loaded.targets.groups
                or each.label == each.model
            )
            json.dumps([each.parameters, each.messages, each.licenses, each.string("system")])
        loaded.select()


@given(
    st.dictionaries(
        words | st.sampled_from(["model", "vars", "project", "defaults", "group", "ftype", "tools"]),
        anything,
        max_size=4,
    )
)
@quick
def test_documents_of_any_shape(root: Path, document: dict[str, Any]) -> None:
    outcome(root, tomli_w.dumps(document))


@given(st.sampled_from(list(keys.KEYS)), anything)
@quick
def test_any_value_for_any_key(root: Path, key: str, value: Any) -> None:
    outcome(root, tomli_w.dumps({"model": {"a": {"from": "m"} | {key: value}}, "vars": {"v": 1, "n": 2}}))


@given(st.sampled_from([*CASES.values(), DESIGN]), st.integers(0, 400), st.integers(0, 40))
@quick
def test_texts_with_a_piece_cut_out(root: Path, text: str, start: int, length: int) -> None:
    outcome(root, text[:start] + text[start + length :])


@given(
    st.lists(
        st.text(max_size=12) | st.builds("{}.{}={}".format, words, st.sampled_from(list(keys.KEYS)), words), max_size=3
    ),
    st.dictionaries(words | st.sampled_from(["n", "v"]), st.text(max_size=5), max_size=2),
)
@quick
def test_any_option(root: Path, sets: list[str], variables: dict[str, str]) -> None:
    toml = '[model.a]\nfrom = "m"\nmatrix.x = ["1", "2"]\n[vars]\nn = 1\nv = true\n'
    outcome(root, toml, sets=tuple(sets), vars=variables)


@given(st.text(max_size=12), st.text(max_size=6))
@quick
def test_any_t_and_q(root: Path, name: str, quantize: str) -> None:
    try:
        load(root, None, file="m/Modelfile", name=name, quantize=quantize)
    except (Error, Errors) as error:
        assert str(error)


@given(st.binary(max_size=60))
@quick
def test_bytes(root: Path, data: bytes) -> None:
    (root / "ModelBuild.toml").write_bytes(data)
    try:
        load(root)
    except (Error, Errors) as error:
        assert str(error)


@pytest.mark.parametrize("depth", (90, 101, 200, 330, 480, 700, 990, 2000))
@pytest.mark.parametrize(
    "before",
    ("", '[model.a]\nfrom="m"\n[[model.a.include]]\n', "[model.a.parameters]\n", "[model.a.metadata]\n", "[vars]\n"),
)
def test_dotted_keys_of_any_depth(root: Path, before: str, depth: int) -> None:
    told = outcome(root, f"{before}{'.'.join(['x'] * depth)} = 1\n")
    assert ("nested too deeply" in str(told)) == (depth > 100)


def parsed(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except ValueError:
        return {}


def wrong(document: dict[str, Any]) -> list[Any]:
    return sorted(map(str, schema.faults("document", document, Place("ModelBuild.toml").at)[1]))


def like(value: Any) -> st.SearchStrategy[Any]:
    """Other values of the same shape."""
    match value:
        case dict():
            return st.fixed_dictionaries({key: like(item) for key, item in value.items()})
        case list():
            return st.tuples(*map(like, value)).map(list)
        case "":
            return st.just("")
        case str():
            return st.text(min_size=1, max_size=5)
        case bool():
            return st.booleans()
        case int():
            return st.integers(-(2**70), 2**70)
        case float() if math.isfinite(value):
            return st.floats(allow_nan=False, allow_infinity=False)
        case float():
            return st.sampled_from([math.inf, -math.inf, math.nan])
    return st.just(value)


@given(st.sampled_from([*CASES.values(), DESIGN]).map(parsed) | documents | st.dictionaries(words, anything), st.data())
@quick
def test_schema_sees_the_shape_alone(document: dict[str, Any], data: st.DataObject) -> None:
    assume(document)
    other = data.draw(like(document))
    assert shape(other) == shape(document)
    assert wrong(other) == wrong(document)


def test_the_json_schema_needs_no_project() -> None:
    assert schema.json_schema()["properties"].keys() == {
        "project",
        "defaults",
        "model",
        "ftype",
        "tools",
        "vars",
        "group",
    }
