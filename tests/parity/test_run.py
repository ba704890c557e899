"""`modelbuild run` with the real llama.cpp (xllamacpp): the examples tell their stories, from exactly the prompts that they declare."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from modelbuild.ollama.library import Library
from modelbuild.runners import _llama
from modelbuild.session import running
from tests.e2e.test_examples import EXAMPLES, STORYTELLER, Built, peer

pytestmark = pytest.mark.peer
pytest.importorskip("pty")

LIBRARY = "registry.ollama.ai/library"
STILL = ("-p", "temperature=0", "-p", "repeat_penalty=1", "-p", "num_thread=1")
"""Threads of llama.cpp wait for one another at full speed: on a busy machine one is faster than two."""
PEERS = Path(__file__).parents[1] / "peers"


class Telling(Built):
    """The examples, and an environment in which llama.cpp is found: as a package, and as `llama-server`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        python = os.environ.get("MODELBUILD_PEERS_PYTHON")
        if not python:
            pytest.skip("MODELBUILD_PEERS_PYTHON is not set: no xllamacpp (.ci/peers installs it)")
        found = subprocess.run(
            [python, "-c", "import xllamacpp; print(xllamacpp.__path__[0])"], capture_output=True, text=True
        )
        packages, programs = folder / "packages", folder / "bin"
        packages.mkdir()
        programs.mkdir()
        (packages / "xllamacpp").symlink_to(found.stdout.strip())
        program = programs / "llama-server"
        program.write_text(f'#!/bin/sh\nexec {python} {PEERS / "llama_server.py"} "$@"\n')
        program.chmod(0o755)
        self.env = {**os.environ, "PYTHONPATH": str(packages), "PATH": f"{programs}:{os.environ['PATH']}"}

    def command(self, *words: str, runner: str = "xllamacpp") -> list[str]:
        places = ["--models", str(self.models), "--cache", str(self.folder / "cache")]
        return [sys.executable, "-m", "modelbuild", "-C", str(EXAMPLES), *places, "run", *words, "--with", runner]

    def tell(self, *words: str, runner: str = "xllamacpp") -> tuple[str, str]:
        command = self.command(*words, runner=runner)
        done = subprocess.run(
            command, capture_output=True, text=True, env=self.env, stdin=subprocess.DEVNULL, timeout=600
        )
        assert done.returncode == 0, done.stderr
        return done.stdout, done.stderr


@pytest.fixture(scope="module")
def telling(tmp_path_factory: pytest.TempPathFactory) -> Telling:
    return Telling(tmp_path_factory.mktemp("telling"))


@pytest.mark.parametrize("runner", ["xllamacpp", "llama-server"])
def test_an_example_tells_its_story_in_a_pipe(telling: Telling, runner: str) -> None:
    said, told = telling.tell("quickstart:f16", "Tell me a story about a brave fox.", *STILL, runner=runner)
    assert said.startswith("Ahoy! Once upon a time there was a brave fox called") and said.endswith("The end.\n")
    assert f"with {runner}: TEMPLATE makes the prompts\n" in told


def test_an_example_tells_its_story_on_a_terminal(telling: Telling) -> None:
    from tests.cli.typing_on import CTRL_D, Typist

    with Typist(telling.command("quickstart:f16", *STILL), telling.env) as typist:
        typist.until(">>> ")
        for _ in range(2):
            typist.type("Tell me a story about a brave fox.\n")
            assert "fox called" in typist.until(">>> ")
        typist.type(CTRL_D)
        assert typist.ended() == 0


@pytest.mark.parametrize("runner", ["xllamacpp", "llama-server"])
def test_an_adapter_changes_the_story(telling: Telling, runner: str) -> None:
    prompt = "Tell me a story about a brave fox."
    plain, _ = telling.tell("quickstart:f16", prompt, *STILL, runner=runner)
    adapted, _ = telling.tell("voices-layer", prompt, *STILL, runner=runner)
    assert plain.startswith("Ahoy! Once upon") and adapted.startswith("Ahoy! Squawk! Once upon")


def test_a_seed_repeats_a_story_and_a_stop_ends_it(telling: Telling) -> None:
    words = ("quickstart:f16", "Tell me a story.", "-p", "seed=7", "-p", "num_thread=1")
    first, _ = telling.tell(*words)
    assert telling.tell(*words)[0] == first
    stopped, _ = telling.tell("quickstart:f16", "Tell me a story about a brave fox.", *STILL, "-p", "stop=fox")
    assert stopped == "Ahoy! Once upon a time there was a brave \n"


def test_a_model_without_a_template_goes_on(telling: Telling) -> None:
    bare = telling.folder / "bare"
    bare.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.model"):
        (bare / name).symlink_to(STORYTELLER / name)
    places = ["--models", str(telling.models), "--cache", str(telling.folder / "cache")]
    command = [
        sys.executable,
        "-m",
        "modelbuild",
        *places,
        "run",
        f"{bare}/",
        "Once upon a time",
        *STILL,
        "--with",
        "xllamacpp",
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, env=telling.env, stdin=subprocess.DEVNULL, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert "no template: the model goes on with the text as it is" in done.stderr
    assert done.stdout.startswith(" there was a") and done.stdout.endswith("The end.\n")


CONVERSATIONS = [
    [("user", "Tell me a story about a brave fox.")],
    [("user", "Hello."), ("assistant", "Ahoy!"), ("user", "Tell me more.")],
]


@pytest.mark.parametrize("with_template", [True, False])
def test_the_prompt_has_the_tokens_that_the_template_means(telling: Telling, with_template: bool) -> None:
    """By TEMPLATE and by the chat template of the weights; transformers renders and tokenizes the same conversations."""
    telling.build("quickstart:f16")
    model = running.model(Library(str(telling.models)), f"{LIBRARY}/quickstart/f16", {})
    model = model if with_template else model._replace(template=None)
    way = _llama.way(model)
    assert (way.template is not None) == with_template
    # TEMPLATE prints no token that ends an answer.
    conversations = CONVERSATIONS[:1] if with_template else CONVERSATIONS[:2]
    requests = [dict(zip(("where", "body"), _llama.request(model, way, each), strict=True)) for each in conversations]
    messages: list[list[dict[str, Any]]] = [
        [{"role": role, "content": content} for role, content in [("system", model.system), *each]]
        for each in conversations
    ]
    found = peer(
        "llama_prompt",
        {"model": model.weights, "folder": str(STORYTELLER), "requests": requests, "conversations": messages},
    )
    assert found["llama"] == found["transformers"]
    assert found["counted"] == [len(ids) for ids in found["transformers"]]
