"""Shapes: which files they make of models, whatever these are called. UPDATE_GOLDEN=1 writes the goldens."""

from __future__ import annotations

import configparser
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelbuild import shapes
from modelbuild.digest import sha256
from modelbuild.errors import Error
from modelbuild.ollama.name import Name
from modelbuild.shapes import _names, _oci, _seal, docker_model, folder, llama_server, modelpack, oci
from modelbuild.shapes._finished import Copy, Entry, Finished, Text

from .models import finished, layer, printed

GOLDEN = Path(__file__).parents[1] / "golden/shapes"

ROWS = (finished(), finished("tale:f16", "F16"))
BESIDE = (
    finished(
        "acme/seer:latest",
        "Q8_0",
        layer("model", b"GGUF seer"),
        layer("projector", b"GGUF eye"),
        layer("adapter", b"GGUF tone"),
        stem="seer",
    ),
)
SPLIT = (finished("tale:q4", "Q4_K_M", layer("model", b"GGUF in parts", parts=3)),)
SEEN = (finished("acme/seer:latest", "Q8_0", layer("model", b"GGUF seer"), layer("projector", b"GGUF eye")),)
WEIGHTS = (
    finished(
        checkpoint={
            "config.json": Text(b"{}\n"),
            "model-00001-of-00002.safetensors": Copy(sha256(b"1"), 1),
            "model-00002-of-00002.safetensors": Copy(sha256(b"2"), 1),
            "model.safetensors.index.json": Text(b"{}"),
        }
    ),
)

CASES = {
    **{f"{name}-rows": (name, ROWS) for name in shapes.names() if name != "safetensors"},
    **{f"{name}-beside": (name, BESIDE) for name in ("folder", "llama-server", "hugging-face", "modelpack", "docker-model")},
    **{f"{name}-split": (name, SPLIT) for name in ("folder", "lm-studio", "llama-server", "hugging-face", "modelpack", "docker-model")},
    "lm-studio-projector": ("lm-studio", SEEN),
    "safetensors": ("safetensors", WEIGHTS),
    "safetensors-rows": ("safetensors", tuple(finished(each, checkpoint=WEIGHTS[0].checkpoint) for each in ("a:1", "a:2"))),
}  # fmt: skip


def tree(name: str, models: tuple[Finished, ...]) -> list[Entry]:
    return list(shapes.get(name).tree(models, "/dest"))


@pytest.mark.parametrize("case", CASES)
def test_trees_are_as_their_goldens(case: str) -> None:
    name, models = CASES[case]
    text = printed(tree(name, models))
    golden = GOLDEN / f"{case}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text()


def test_every_golden_has_its_case() -> None:
    assert sorted(path.stem for path in GOLDEN.glob("*.txt")) == sorted(CASES)


@pytest.mark.parametrize("name", shapes.names())
def test_every_shape_has_its_parts_and_its_row_in_the_docs(name: str) -> None:
    module = shapes.get(name)
    assert callable(module.tree) and isinstance(module.said(ROWS, "out"), str)
    assert f"| [`{name}`](" in (Path(shapes.__file__).parents[2] / "docs/export.md").read_text()
    assert shapes.wants(name) in ("blobs", shapes.CHECKPOINT)


def test_a_name_that_is_none_is_none() -> None:
    for name in ("", "tar", "../folder", "_oci", "oci.py", "lm_studio"):
        with pytest.raises(KeyError):
            shapes.get(name)


HOSTILE = [
    "CON:latest", "nul.x:AUX", "a..b:...", "mmproj-x:1", "mtp-x:1", "x.gguf.y:1", "x-00001-of-00002:1", "___:___", "a.:a-",
    "Q4_K_M:Q4_K_M", "x:COM1", "acme/LPT9:latest", "a--b:c--d", "0:0",
]  # fmt: skip
HOSTILE = [name for name in HOSTILE if re.fullmatch(r"([\w-]+/)?\w[\w.-]*:\w[\w.-]*", name)]
TAKEN = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def models_of(names: list[str]) -> tuple[Finished, ...]:
    """Models with the stems that a session gives them."""
    found = []
    for name in names:
        parsed = Name.parse(name)
        stem = _names.safe(parsed.model if parsed.tag == "latest" else f"{parsed.model}-{parsed.tag}")
        found.append(finished(name, stem=stem, checkpoint={"config.json": Text(b"{}")}))
    return tuple(found)


@pytest.mark.parametrize("name", shapes.names())
@pytest.mark.parametrize("names", [*([each] for each in HOSTILE), HOSTILE, ["x/a:1", "y/A:1", "a:1"]])
def test_no_name_leaves_the_folder_or_is_none_of_a_file(name: str, names: list[str]) -> None:
    models = models_of(names)
    if len(names) > 1:
        models = tuple(
            Finished(**{**vars(each), "stem": f"{each.stem}-{number}"}) for number, each in enumerate(models)
        )
    entries = tree(name, models)
    for entry in entries:
        for part in entry.path.split("/"):
            assert part not in ("", ".", "..") and not part.endswith((".", " ")), entry.path
            assert not TAKEN.fullmatch(part), entry.path
            assert re.fullmatch(r"[A-Za-z0-9_.-]+", part) and len(part) <= 255, entry.path
    folded = [entry.path.casefold() for entry in entries]
    assert len(set(folded)) == len(folded)


@pytest.mark.parametrize("name", shapes.names())
def test_what_is_said_ahead_are_names_that_come(name: str) -> None:
    """Before the work there are no digests: each name that holds none is right then, too."""
    made = tree(name, WEIGHTS if name == "safetensors" else ROWS)
    source = WEIGHTS if name == "safetensors" else ROWS
    ahead = tuple(
        Finished(**{**vars(each), "manifest": b"", "metadata": {}, "layers": tuple(_unmade(each))}) for each in source
    )
    names = {entry.path for entry in tree(name, ahead)}
    assert names <= {entry.path for entry in made}


def _unmade(model: Finished) -> Any:
    from dataclasses import replace

    from modelbuild.shapes._finished import AHEAD

    return (replace(each, digest=AHEAD, size=0) for each in model.layers)


def test_a_model_is_kept_and_read_back() -> None:
    for model in (*ROWS, *BESIDE, *SPLIT):
        back = Finished.decode(model.encode())
        for name in ("hugging-face", "llama-server", "folder"):
            texts = [
                [each for each in tree(name, (found,)) if isinstance(each.content, Text)] for found in (model, back)
            ]
            assert texts[0] == texts[1]


# Names


def test_types_are_in_the_names_of_repositories_once() -> None:
    found = _names.typed(
        [finished("tale:q4_k_m"), finished("tale-q4_k_m:x", "Q4_K_M"), finished("b:1", "F16"), finished("b:2", "F16")]
    )
    assert list(found.values()) == ["tale-Q4_K_M", "tale-Q4_K_M", "b-1-F16", "b-2-F16"]
    assert _names.safe("x.") == "x" and _names.safe("...") == "_" and _names.safe("Aux.v1") == "_Aux.v1"


# Seals


@pytest.mark.parametrize("comment", ["# {}", "\n<!-- {} -->", "\n; {}"])
def test_a_seal_tells_a_text_that_was_edited(comment: str) -> None:
    sealed = _seal.sealed("a\nb\n", comment)
    assert sealed.startswith(b"a\nb\n") and _seal.is_whole(sealed)
    for edited in (sealed.replace(b"a", b"A"), sealed + b"\n", sealed[:-1], sealed + sealed, b"", b"x\n" + sealed):
        assert not _seal.is_whole(edited)
    assert not _seal.is_whole(b"# exported by modelbuild, sha256:" + b"0" * 64 + b"\n")


def test_a_seal_of_json_is_an_annotation() -> None:
    sealed = _seal.sealed_json({"a": [1, {"b": "ü"}]})
    assert _seal.is_whole(sealed) and json.loads(sealed)["a"] == [1, {"b": "ü"}]
    for edited in (
        sealed.replace(b"1", b"2"),
        sealed + b"\n",
        b"{}",
        b'{"annotations": 1}',
        b'{"annotations": {}}',
        b"{" * 9999,
    ):
        assert not _seal.is_whole(edited)


# What is in the files


def test_presets_are_plain_settings_or_comments() -> None:
    odd: dict[str, Any] = {"stop": ["a;b"], "seed": -1, "unheard\nof": "x\ny", "use_mmap": False}
    (entry,) = (each for each in tree("llama-server", (finished(parameters=odd),)) if each.path == llama_server.PRESETS)
    assert isinstance(entry.content, Text)
    text = entry.content.data.decode()
    parser = configparser.ConfigParser(comment_prefixes=(";", "#"), delimiters=("=",))
    parser.read_string("[DEFAULT]\n" + text)
    assert dict(parser["tale-q4"]) == {"version": "1", "seed": "-1", "load-mode": "none"}
    assert all(line.startswith((";", "[")) or "=" in line or not line for line in text.splitlines())


@pytest.mark.parametrize(
    ("answers", "setting", "task", "way"),
    [
        ("text", "", "text-generation", "try it: modelbuild run out/Modelfile; in Ollama: ollama create"),
        ("embeddings", "embeddings = true", "feature-extraction",
         "in llama.cpp: llama-server -m out/tale-q4.gguf --embedding; in Ollama: ollama create"),
        ("scores", "reranking = true", "", "in llama.cpp: llama-server -m out/tale-q4.gguf --rerank"),
    ],
)  # fmt: skip
def test_what_a_model_makes_is_said(answers: Any, setting: str, task: str, way: str) -> None:
    model = finished(answers=answers)
    assert Finished.decode(model.encode()).answers == answers
    presets = printed(tree("llama-server", (model,)))
    assert (setting in presets) and ("true" in presets) == bool(setting)
    assert f"pipeline_tag: {task}" in (card := printed(tree("hugging-face", (model,)))) or "pipeline_tag" not in card
    assert ("pipeline_tag" in card) == bool(task)
    said = folder.said((model,), "out")
    assert said.startswith(way) and ("ollama" in said) == (answers != "scores")
    first = "tale" if answers == "text" else "chat"
    assert folder.said((model, finished("chat:q4")), "out").startswith(f"try it: modelbuild run out/{first}-q4.Model")
    both = printed(tree("hugging-face", (model, finished("chat:q4"))))
    assert ("pipeline_tag" in both) == (answers == "text")


def test_the_server_uses_the_blocks_that_a_model_predicts_with() -> None:
    """Of a draft beside the model it tells by itself what it is (llama.cpp common/arg.cpp)."""
    model = finished(predicts=True)
    assert "spec-type = draft-mtp\n" in printed(tree("llama-server", (model,)))
    assert Finished.decode(model.encode()).predicts
    assert "spec-type" not in printed(tree("llama-server", (finished(),)))
    assert "spec-type" not in printed(tree("llama-server", BESIDE))


def test_adapters_lie_where_the_server_does_not_take_them_for_models() -> None:
    paths = [entry.path for entry in tree("llama-server", BESIDE)]
    assert paths == ["seer/seer.gguf", "seer/mmproj.gguf", "seer/beside/adapter.gguf", "presets.ini"]
    text = printed(tree("llama-server", BESIDE))
    assert "lora = /dest/seer/beside/adapter.gguf" in text


def test_a_card_has_yaml_that_means_the_same_whatever_is_in_it() -> None:
    odd = {
        "general.license": "---\nfoo: [", "general.languages": ["no", "yes"], "general.tags": ["a: b", "---"],
        "general.description": "<script>|\n# x", "general.base_model.0.repo_url": "https://evil.example/x",
    }  # fmt: skip
    (entry,) = (each for each in tree("hugging-face", (finished(metadata=odd),)) if each.path == "README.md")
    assert isinstance(entry.content, Text)
    front, body = re.match(r"---\n(.*?\n)---\n(.*)", entry.content.data.decode(), re.DOTALL).groups()  # type: ignore[union-attr]
    found = yaml.safe_load(front)
    assert found["license"] == "---\nfoo: [" and found["language"] == ["no", "yes"]
    assert found["tags"] == ["gguf", "a: b", "---"] and "base_model" not in found
    assert "\\<script\\>\\| \\# x" in body


def test_models_that_see_are_called_so() -> None:
    text = finished()
    seeing = finished("tale:sees", "Q4_K_M", layer("model", b"GGUF"), layer("projector", b"CLIP"))
    for models, task in (
        ((seeing,), "image-text-to-text"),
        ((text,), "text-generation"),
        ((text, seeing), "text-generation"),
    ):
        card = next(each for each in shapes.get("hugging-face").tree(models, "out") if each.path == "README.md")
        assert isinstance(card.content, Text)
        assert f"\npipeline_tag: {task}\n" in card.content.data.decode()
    safetensors = shapes.get("safetensors")
    assert 'AutoModelForImageTextToText.from_pretrained("out")' in safetensors.said((seeing,), "out")
    assert 'AutoModelForCausalLM.from_pretrained("out")' in safetensors.said((text,), "out")
    assert f'AutoModelForImageTextToText.from_pretrained("out/{seeing.stem}")' in safetensors.said(
        (seeing, text), "out"
    )


def test_artifacts_name_what_they_hold() -> None:
    for module in (oci, modelpack, docker_model):
        for model in ROWS:
            made = module.artifact(model)
            manifest = json.loads(made.manifest)
            assert manifest["mediaType"] == made.media_type == _oci.MANIFEST
            assert [each["digest"] for each in manifest["layers"]] == [each.digest for each in made.layers]
            assert manifest["config"]["digest"] == made.config.digest
            assert [each["size"] for each in manifest["layers"]] == [each.content.size for each in made.layers]
            assert module.artifact(model) == made


def test_a_layout_is_whole_and_its_references_are_names() -> None:
    models = models_of(["a:1", "b:1", "x/a:1", "a:_1", "a:1-"])
    references = _oci.references_of(models)
    assert len(set(references.values())) == 5
    word = r"[A-Za-z0-9]+(?:(?:-|\.|_|:|@|\+|--)[A-Za-z0-9]+)*"
    assert all(re.fullmatch(rf"{word}(?:/{word})*", each) for each in references.values()), references
    entries = tree("modelpack", models)
    by_path = {entry.path: entry.content for entry in entries}
    index = by_path["index.json"]
    assert isinstance(index, Text) and entries[-1].path == "index.json"
    for listed in json.loads(index.data)["manifests"]:
        content = by_path[f"blobs/{listed['digest'].replace(':', '/')}"]
        assert isinstance(content, Text) and sha256(content.data) == listed["digest"]


def test_modelpack_says_what_its_schema_asks_for() -> None:
    config = json.loads(modelpack.artifact(ROWS[0]).config.content.data)  # type: ignore[union-attr]
    assert config["config"] == {
        "architecture": "transformer",
        "format": "gguf",
        "paramSize": "1.2m",
        "quantization": "Q4_K_M",
    }
    assert config["descriptor"]["licenses"] == ["mit"] and config["modelfs"]["type"] == "layers"
    assert [modelpack.param_size(text) for text in ("8.0B", "334M", "26K", "", "x")] == ["8b", "334m", "26k", "", ""]


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("lm-studio", "adapter", "has 1 adapter besides its model, which LM Studio does not read"),
        ("docker-model", "draft", "which Docker Model Runner does not read"),
        ("safetensors", "adapter", "which transformers does not read"),
    ],
)
def test_what_a_runner_does_not_read_is_refused(name: str, kind: str, said: str) -> None:
    model = finished("m:1", "F16", layer("model", b"m"), layer(kind, b"x"), checkpoint={"config.json": Text(b"{}")})
    with pytest.raises(Error, match=said) as caught:
        tree(name, (model,))
    assert caught.value.hint


def test_what_a_runner_takes_from_elsewhere_is_left_out() -> None:
    assert list(shapes.leaves_out("lm-studio")) == ["draft"] and not shapes.leaves_out("folder")
    model = finished("m:1", "F16", layer("model", b"m"), layer("draft", b"x"))
    assert [entry.path for entry in tree("lm-studio", (model,))] == ["local/m/m-F16.gguf"]


@pytest.mark.parametrize("name", [each for each in shapes.names() if each != "oci"])
def test_a_model_without_a_file_is_refused(name: str) -> None:
    with pytest.raises(Error, match="'m:1' (has no model to export|is not made from a folder of safetensors)"):
        tree(name, (finished("m:1", "F16", layer("system", b"x")),))
