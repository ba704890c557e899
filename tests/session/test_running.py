"""A model of a models folder as a runner gets it."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelbuild.errors import Error
from modelbuild.ollama import manifest
from modelbuild.ollama.manifest import ConfigV2
from modelbuild.session import running
from tests.session.test_layers import NAME, write

FABLE = Path(__file__).parents[2] / "examples" / "import" / "fable.gguf"


def test_everything_that_takes_effect(tmp_path: Path) -> None:
    library = write(
        tmp_path,
        (manifest.MODEL, FABLE.read_bytes()),
        (manifest.ADAPTER, b"an adapter"),
        (manifest.PROJECTOR, b"a projector"),
        (manifest.TEMPLATE, b"{{ .Prompt }}!"),
        (manifest.SYSTEM, b"S"),
        (manifest.PARAMS, b'{"top_k": 1, "seed": 3}'),
        (manifest.MESSAGES, b'[{"role": "user", "content": "Hi"}]'),
        config=ConfigV2(renderer="r"),
    )
    found = running.model(library, NAME, {"top_k": 7})
    assert Path(found.weights).read_bytes() == FABLE.read_bytes()
    assert [Path(path).read_bytes() for path in found.adapters] == [b"an adapter"]
    assert found.projector is not None and Path(found.projector).read_bytes() == b"a projector"
    assert (found.name, found.template, found.system, found.renderer) == ("m:latest", "{{ .Prompt }}!", "S", "r")
    assert found.parameters == {"top_k": 7, "seed": 3} and found.given == {"top_k": 7}
    assert found.messages == [("user", "Hi")] and found.context == 512
    served = library.served(NAME)
    assert served is not None and served.digest == f"sha256:{found.digest}"


def test_what_cannot_be_run(tmp_path: Path) -> None:
    library = write(tmp_path, (manifest.SYSTEM, b"S"))
    with pytest.raises(Error, match="'m:latest' has no GGUF file: only Ollama runs it"):
        running.model(library, NAME, {})
    Path(library.blob_path("sha256:" + "0" * 64)).touch()
    for path in Path(library.blobs).iterdir():
        path.unlink()
    with pytest.raises(Error, match="is not whole"):
        running.model(library, NAME, {})
    with pytest.raises(Error, match="no model 'n:latest' in this models folder"):
        running.model(library, NAME.replace("/m/", "/n/"), {})


def test_a_name_that_is_nearly_one(tmp_path: Path) -> None:
    library = write(tmp_path, name=NAME.replace("/m/", "/storyteller/"))
    assert running.absent(library, "storyteler").hint == "did you mean 'storyteller'?"
    assert running.absent(library, "llama3.2").hint == "`modelbuild pull llama3.2` downloads it, if its registry has it"
    assert running.named("storyteller") == NAME.replace("/m/", "/storyteller/")
    assert running.named("a model") is None


def test_weights_that_are_not_a_gguf_file(tmp_path: Path) -> None:
    with pytest.raises(Error):
        running.model(write(tmp_path, (manifest.MODEL, b"GGUF")), NAME, {})


@pytest.mark.parametrize(
    "text", ['{"num_ctx": "abc"}', '{"num_ctx": [1]}', '{"repeat_last_n": true}', '{"seed": 1e300}', '{"stop": [5]}']
)
def test_parameters_of_other_types(tmp_path: Path, text: str) -> None:
    library = write(tmp_path, (manifest.MODEL, FABLE.read_bytes()), (manifest.PARAMS, text.encode()))
    with pytest.raises(Error, match="'m:latest' cannot be run: parameter '"):
        running.model(library, NAME, {})


def test_parameters_that_say_nothing_or_are_unknown(tmp_path: Path) -> None:
    text = b'{"num_ctx": 16.5, "num_predict": null, "new": {"a": 1}}'
    library = write(tmp_path, (manifest.MODEL, FABLE.read_bytes()), (manifest.PARAMS, text))
    assert running.model(library, NAME, {}).parameters == {"num_ctx": 16, "new": {"a": 1}}


def test_weights_that_cannot_be_read(tmp_path: Path) -> None:
    library = write(tmp_path, (manifest.MODEL, FABLE.read_bytes()))
    served = library.served(NAME)
    assert served is not None
    path = Path(library.blob_path(served.manifest.layers[0].digest))
    path.unlink()
    path.mkdir()
    with pytest.raises(Error, match="is a directory"):
        running.model(library, NAME, {})


def test_what_is_not_whole_says_how_it_comes_back(tmp_path: Path) -> None:
    library = write(tmp_path, (manifest.SYSTEM, b"S"))
    for path in Path(library.blobs).iterdir():
        path.unlink()
    for label, hint in (("team/m", "build it: `modelbuild team/m`"), ("", "pull it again: `modelbuild pull m:latest`")):
        with pytest.raises(Error) as caught:
            running.model(library, NAME, {}, label)
        assert caught.value.hint == hint


@pytest.mark.parametrize(
    ("kind", "case", "made", "hint"),
    [
        ("bert", "cls", "embeddings", "/api/embed"),
        ("bert", "three labels, rows of 48", "scores", "--rerank"),
        ("gemma_embedding", "rope parameters of today, f32, not pooled", "embeddings", "--embedding"),
    ],
)
def test_a_model_of_embeddings_or_scores_makes_no_text(
    tmp_path: Path, kind: str, case: str, made: str, hint: str
) -> None:
    from tests import recipes, zoo

    example = zoo.cases(kind)[case]
    folder = zoo.write(tmp_path / "weights", example)
    data = recipes.file_of(recipes.converted(folder, pre=example.pre), recipes.Folder(folder).leaves())
    library = write(tmp_path / "models", (manifest.MODEL, data))
    assert running.answers(library, NAME) == made
    with pytest.raises(Error, match=f"'m:latest' makes {made}, not text") as caught:
        running.model(library, NAME, {})
    assert caught.value.hint and hint in caught.value.hint


def test_what_says_nothing_makes_text(tmp_path: Path) -> None:
    assert running.answers(write(tmp_path / "a", (manifest.MODEL, FABLE.read_bytes())), NAME) == "text"
    assert running.answers(write(tmp_path / "b", (manifest.MODEL, b"GGUF")), NAME) == "text"
    assert running.answers(write(tmp_path / "c", (manifest.SYSTEM, b"S")), NAME) == "text"
