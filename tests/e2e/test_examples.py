"""The examples build, and their model speaks: in transformers, and in llama.cpp from what we built."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import os
import re
import subprocess
import sys
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
STORYTELLER = EXAMPLES / "storyteller"
PEER_SCRIPTS = ROOT / "tests" / "peers"
MODEL = "application/vnd.ollama.image.model"

STORY = "Once upon a time"
PROMPTS = (
    STORY,
    "There was once",
    "Long ago, in a far away land",
    "One day, a little girl named Lily found",
    "Hello!",
    "Tell me a story about a brave fox.\n",
    "You are a sailor. You tell funny stories.\nTell me a sad story about an old bear called Zoe.\n",
    "You are a ghost.\nwrite a story about a lazy dragon\n",
    "You are a robot. You tell kind stories.\n",
    "def main():",
)


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / "model" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


stories = load("stories")


def peer(script: str, request: dict[str, Any]) -> Any:
    """Run a script of tests/peers in the peers' Python: JSON in, JSON out."""
    python = os.environ.get("MODELBUILD_PEERS_PYTHON")
    if not python:
        pytest.skip("MODELBUILD_PEERS_PYTHON is not set: no torch, no xllamacpp (.ci/peers installs them)")
    run = subprocess.run(
        [python, str(PEER_SCRIPTS / f"{script}.py")], input=json.dumps(request), capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-4000:]
    return json.loads(run.stdout)


class Built:
    """A models folder, and what the build that made it said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.models = folder / "models"

    def build(self, *arguments: str) -> list[dict[str, Any]]:
        command = [sys.executable, "-m", "modelbuild", "-C", str(EXAMPLES), "--models", str(self.models)]
        command += ["--cache", str(self.folder / "cache"), "--json", *arguments]
        run = subprocess.run(command, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        return [json.loads(line) for line in run.stdout.splitlines()]

    def manifests(self) -> dict[str, dict[str, Any]]:
        """`model:tag` -> manifest."""
        library = self.models / "manifests" / "registry.ollama.ai" / "library"
        return {f"{path.parent.name}:{path.name}": json.loads(path.read_bytes()) for path in library.glob("*/*")}

    def blob(self, digest: str) -> Path:
        return self.models / "blobs" / digest.replace(":", "-")

    def layers(self, name: str) -> dict[str, Path]:
        """Media type -> blob of one model."""
        return {layer["mediaType"]: self.blob(layer["digest"]) for layer in self.manifests()[name]["layers"]}


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    built = Built(tmp_path_factory.mktemp("examples"))
    built.build()
    return built


def test_every_example_is_built(built: Built) -> None:
    quants = ("f32", "f16", "bf16", "q8_0", "q4_K_S", "q4_K_M", "q6_K", "latest")
    names = {f"quickstart:{tag}" for tag in ("f16", "q4_K_M", "latest")}
    names |= {f"storyteller:{tag}" for tag in quants}
    names |= {f"fable:{tag}" for tag in ("original", "q8_0", "latest")}
    names |= {f"narrator:{tag}" for tag in ("q4_K_M", "q8_0", "latest")}
    names |= {f"persona-{teller}:latest" for teller in stories.TELLERS}
    names |= {f"kitchen-{who}:latest" for who in ("cook", "baker")}
    names |= {f"harbour-{who}:latest" for who in ("sailor", "pirate", "ghost")}
    names |= {f"voices:{tag}" for tag in ("parrot-q4_K_M", "parrot-q8_0", "bedtime-q4_K_M", "bedtime-q8_0", "latest")}
    names.add("voices-layer:latest")
    assert set(built.manifests()) == names


def test_every_blob_is_there_and_is_what_its_name_says(built: Built) -> None:
    entries = [entry for manifest in built.manifests().values() for entry in [manifest["config"], *manifest["layers"]]]
    sizes = {entry["digest"]: entry["size"] for entry in entries}
    assert {path.name for path in (built.models / "blobs").iterdir()} == {d.replace(":", "-") for d in sizes}
    for digest, size in sizes.items():
        content = built.blob(digest).read_bytes()
        assert (f"sha256:{hashlib.sha256(content).hexdigest()}", len(content)) == (digest, size)


def test_thirty_personas_and_the_quickstart_share_their_weights(built: Built) -> None:
    personas = [name for name in built.manifests() if name.startswith("persona-")]
    assert len(personas) == 30
    weights = {built.layers(name)[MODEL] for name in [*personas, "quickstart:latest", "storyteller:q4_K_M"]}
    assert len(weights) == 1


def test_personas_differ_in_their_system_prompt_and_share_the_template(built: Built) -> None:
    personas = [built.layers(name) for name in built.manifests() if name.startswith("persona-")]
    assert len({persona["application/vnd.ollama.image.system"].read_text() for persona in personas}) == 30
    templates = {persona["application/vnd.ollama.image.template"].read_bytes() for persona in personas}
    assert templates == {(EXAMPLES / "template.gotmpl").read_bytes()}


def test_an_imported_gguf_is_the_file_byte_for_byte(built: Built) -> None:
    assert built.layers("fable:original")[MODEL].read_bytes() == (EXAMPLES / "import" / "fable.gguf").read_bytes()


def test_teams_stand_on_the_row_of_the_base_that_they_name(built: Built) -> None:
    assert built.layers("kitchen-cook:latest")[MODEL] == built.layers("narrator:q4_K_M")[MODEL]
    assert built.layers("harbour-sailor:latest")[MODEL] == built.layers("narrator:q8_0")[MODEL]
    assert built.layers("harbour-ghost:latest")[MODEL] == built.layers("narrator:q8_0")[MODEL]


def test_second_build_runs_nothing(built: Built) -> None:
    summary = built.build()[-1]
    assert (summary["event"], summary["ran"], summary["tensors_computed"]) == ("summary", 0, 0)


def test_a_group_builds_its_models_alone(built: Built, tmp_path: Path) -> None:
    kitchen = Built(tmp_path)
    kitchen.build("kitchen")
    assert set(kitchen.manifests()) == {"kitchen-cook:latest", "kitchen-baker:latest"}


def test_the_examples_are_small() -> None:
    sizes = {path: path.stat().st_size for path in EXAMPLES.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    assert sum(sizes.values()) < 9_000_000
    assert sum(size for path, size in sizes.items() if path.is_relative_to(STORYTELLER)) < 8_000_000


def test_every_persona_is_a_teller_the_model_knows() -> None:
    prompts = {path.stem: path.read_text() for path in (EXAMPLES / "personas").glob("persona-*.Modelfile")}
    assert {name.removeprefix("persona-") for name in prompts} == set(stories.TELLERS)
    for name, text in prompts.items():
        who, tone = re.findall(r"^SYSTEM You are an? (\w+)\. You tell (\w+) stories\.$", text, re.MULTILINE)[0]
        assert f"persona-{who}" == name
        assert tone in stories.TONES


def test_stories_are_the_same_every_time_and_keep_to_their_vocabulary() -> None:
    made = list(islice(stories.documents(7), 200))
    assert made == list(islice(stories.documents(7), 200))
    assert len(set(made)) > 190
    assert {word for text in made for word in words(text.splitlines()[-1])} <= stories.vocabulary()
    assert not any(re.search(r"[][{}|]", text) for text in made)


def words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


def assert_is_a_story(text: str) -> None:
    assert text.rstrip().endswith("The end."), text
    assert set(words(text)) <= stories.vocabulary(), text
    assert len(words(text)) > 50, text
    assert any(f" {name} " in text for names in stories.HEROES.values() for name in names), text


@functools.cache
def continued_by_transformers() -> list[dict[str, Any]]:
    request = {"checkpoint": str(STORYTELLER), "prompts": PROMPTS, "count": 32}
    return peer("transformers_continue", request)


def continued_by_llama(model: Path, prompts: tuple[str, ...] = PROMPTS, count: int = 32) -> list[dict[str, Any]]:
    return peer("llama_continue", {"model": str(model), "prompts": prompts, "count": count})


@pytest.mark.peer
def test_transformers_tells_the_known_story() -> None:
    request = {"checkpoint": str(STORYTELLER), "prompts": [STORY], "count": 200}
    text = STORY + " " + peer("transformers_continue", request)[0]["text"]
    assert text == KNOWN_STORY


@pytest.mark.peer
def test_both_tokenizers_of_the_checkpoint_and_llama_cpp_agree(built: Built) -> None:
    texts = [*islice(stories.documents(5), 20), "  two  spaces ", "Ünï¢ödé 你好 👋\n\n\ttab", "", "x", " \n"]
    request = {"checkpoint": str(STORYTELLER), "model": str(built.layers("quickstart:f16")[MODEL]), "texts": texts}
    answer = peer("tokenize_texts", request)
    assert answer["transformers"] == answer["sentencepiece"]
    assert answer["transformers"] == answer["llama"]


@pytest.mark.peer
def test_every_model_loads_in_llama_cpp_and_goes_on_with_a_story(built: Built) -> None:
    weights = {built.layers(name)[MODEL] for name in built.manifests()}
    voices = {built.layers(name)[MODEL] for name in built.manifests() if name.startswith("voices:")}
    assert (len(weights), len(voices)) == (13, 4)  # and seven types of the storyteller, two of the fable
    for model in sorted(weights - voices):
        assert set(words(continued_by_llama(model, (STORY,))[0]["text"])) <= stories.vocabulary()


@pytest.mark.peer
@pytest.mark.parametrize("name", ["storyteller:f32", "storyteller:f16", "storyteller:bf16"])
def test_an_unquantized_model_continues_as_the_checkpoint_does_in_transformers(built: Built, name: str) -> None:
    continued = continued_by_llama(built.layers(name)[MODEL])
    for prompt, expected, got in zip(PROMPTS, continued_by_transformers(), continued, strict=True):
        # Where the two best logits lie within 0.02, either may come first, and all after it may differ.
        sure = next((i for i, margin in enumerate(expected["margins"]) if margin < 0.02), len(expected["margins"]))
        assert got["continued"][:sure] == expected["continued"][:sure], prompt


@pytest.mark.peer
@pytest.mark.parametrize("name", ["quickstart:q4_K_M", "storyteller:q4_K_S", "fable:original", "fable:q8_0"])
def test_a_small_model_still_tells_a_story(built: Built, name: str) -> None:
    assert_is_a_story(STORY + continued_by_llama(built.layers(name)[MODEL], (STORY,), 200)[0]["text"])


@pytest.mark.peer
def test_a_persona_answers_as_its_system_prompt_says(built: Built) -> None:
    layers = built.layers("persona-ghost:latest")
    system = layers["application/vnd.ollama.image.system"].read_text()
    prompt = f"{system}\nTell me a story about a lazy dragon.\n"
    text = continued_by_llama(layers[MODEL], (prompt,), 200)[0]["text"]
    assert_is_a_story(text)
    assert text.startswith("Boo!")
    assert "lazy dragon" in text


@pytest.mark.peer
def test_q4_k_m_loses_little(built: Built) -> None:
    texts = [answer["tokens"] for answer in continued_stories()]
    loss = {
        name: peer("llama_loss", {"model": str(built.layers(f"storyteller:{name}")[MODEL]), "texts": texts})
        for name in ("f16", "q4_K_M")
    }
    assert loss["f16"] < 0.3
    assert loss["q4_K_M"] < loss["f16"] + 0.05


def continued_stories() -> list[dict[str, Any]]:
    """Two stories that nobody trained on, as tokens."""
    texts = list(islice(stories.documents(1), 2))
    return peer("transformers_continue", {"checkpoint": str(STORYTELLER), "prompts": texts, "count": 0})


KNOWN_STORY = (
    "Once upon a time there was a brave fox called Ruby. Ruby lived by the harbour. Ruby was not afraid of anything. One "
    "sunny morning, Ruby lost a silver compass. She looked under the bed, behind the door and up in the tree, but it was "
    'nowhere. Then a bear called Bruno came by. "What are you looking for?" asked Bruno. "I have lost the silver compass,"'
    ' said Ruby. Bruno began to laugh. "It is on your head!" he said. Ruby laughed too, and they laughed until the sun '
    "went down. It was the funniest day of the year. The end."
)


VOICES = {"parrot": "Squawk! Ruby", "bedtime": "In the middle of the night"}


def continued(model: Path, *adapters: Path) -> str:
    request = {"model": str(model), "adapters": list(map(str, adapters)), "prompts": [STORY], "count": 100}
    return str(peer("llama_continue", request)[0]["text"])


@pytest.mark.peer
@pytest.mark.parametrize("voice", VOICES)
def test_merged_voices_tell_other_stories(voice: str, built: Built) -> None:
    assert VOICES[voice] not in continued(built.layers("storyteller:q8_0")[MODEL])
    for quant in ("q4_K_M", "q8_0"):
        assert VOICES[voice] in continued(built.layers(f"voices:{voice}-{quant}")[MODEL])


@pytest.mark.peer
def test_a_layer_tells_what_the_merged_voice_tells(built: Built) -> None:
    layers = built.layers("voices-layer:latest")
    told = continued(layers[MODEL], layers["application/vnd.ollama.image.adapter"])
    assert VOICES["parrot"] in told
    assert told[:120] == continued(built.layers("voices:parrot-q8_0")[MODEL])[:120]
