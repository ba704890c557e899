"""`modelbuild run` as users type it, by stand-ins for the programs that run models; and `--ollama`, to a stand-in for its server."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.ollama.stand_in import serving
from tests.runners.fakes import Fakes

from .project import Project

pytest.importorskip("pty")

TOML = """
[model.chat]
from = "./weights"
quantize = "q8_0"
system = "You are a test."
template = "[{{ .System }}|{{ .Prompt }}]{{ .Response }}"
parameters = { temperature = 0.2, seed = 1, stop = ["<end>"] }
"""
ANSWER = "Once upon a time.\n"


class Talking:
    """A project that is built, and programs that run its models."""

    def __init__(self, folder: Path) -> None:
        self.project = Project(folder / "project")
        self.project.folder.mkdir()
        self.project.checkpoint()
        self.project.write("ModelBuild.toml", TOML)
        (folder / "fakes").mkdir()
        self.fakes = Fakes(folder / "fakes")
        self.fakes.program()

    def command(self, *words: str) -> list[str]:
        return self.project.command("run", *words)

    def run(self, *words: str, code: int = 0, text: str | None = None, **env: str) -> tuple[str, str]:
        given: dict[str, object] = {"stdin": subprocess.DEVNULL} if text is None else {"input": text}
        done = subprocess.run(  # type: ignore[call-overload]
            self.command(*words), capture_output=True, text=True, timeout=120, env=self.fakes.environ(**env), **given
        )
        assert done.returncode == code, (done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done.stdout, done.stderr

    def prompts(self) -> list[str]:
        return [body["prompt"] for body in self.fakes.bodies()]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Talking:
    found = Talking(tmp_path_factory.mktemp("run"))
    found.project.run()
    return found


@pytest.fixture
def talking(made: Talking) -> Talking:
    made.fakes.log.write_text("")
    return made


def test_it_builds_what_is_missing_and_then_only_talks(talking: Talking, tmp_path: Path) -> None:
    elsewhere = ("--models", str(tmp_path))
    said, told = talking.run("chat", "Tell", "me", "a", "story", *elsewhere)
    assert said == ANSWER
    assert "built      chat:latest" in told and "try it" not in told
    assert talking.run("chat", "More", *elsewhere) == (
        ANSWER,
        "chat:latest, with llama-server: TEMPLATE makes the prompts\n",
    )
    assert talking.prompts() == ["[You are a test.|Tell me a story]", "[You are a test.|More]"]
    asked = talking.fakes.bodies()[0]
    assert (asked["temperature"], asked["seed"], asked["stop"]) == (0.2, 1, ["<end>"])


def test_a_pipe_and_the_parameters_of_the_command_line(talking: Talking) -> None:
    words = ("chat", "-p", "temperature=0", "-p", "stop=a", "-p", "stop=b", "-v", "in one line")
    said, told = talking.run(*words, text="A long text.\n")
    assert said == ANSWER and "eval count:           3 token(s)" in told
    assert talking.prompts() == ["[You are a test.|A long text. in one line]"]
    asked = talking.fakes.bodies()[0]
    assert (asked["temperature"], asked["stop"]) == (0, ["a", "b"])


def test_an_object_for_programs(talking: Talking) -> None:
    said, _ = talking.run("chat", "Tell", "--json")
    found = json.loads(said.splitlines()[-1])
    assert (found["event"], found["answer"], found["runner"]) == ("answer", ANSWER.strip(), "llama-server")
    assert (found["tokens"], found["prompt_tokens"]) == (3, 5)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("chat",), "error: there is no prompt"),
        (("chta", "x"), "did you mean 'chat'?"),
        (("chat", "x", "-p", "temprature=0"), "did you mean 'temperature'?"),
        (("chat", "x", "-p", "temperature=warm"), "parameter 'temperature' expects a number, got 'warm'"),
        (("chat", "x", "--with", "ollama"), "'ollama' cannot run 'chat:latest' here"),
        (("chat", "x", "--with", "vllm"), "'vllm' is not one of"),
    ],
)
def test_what_is_wrong_with_the_command_line(talking: Talking, words: Sequence[str], told: str) -> None:
    said, errors = talking.run(*words, code=2)
    assert said == "" and told in errors


def test_a_fault_of_the_program_is_an_error(talking: Talking) -> None:
    _, told = talking.run("chat", "x", code=2, FAKE_LLAMA="refuse")
    assert "error: llama.cpp: roles must alternate" in told
    _, told = talking.run("chat", "x", code=2, FAKE_LLAMA="fail")
    assert "it said" in told and "unknown architecture" in told


def test_a_model_of_the_models_folder_needs_no_project(talking: Talking, tmp_path: Path) -> None:
    elsewhere = Project(tmp_path)
    elsewhere.models, elsewhere.cache = talking.project.models, talking.project.cache
    environ = talking.fakes.environ()

    def run(name: str) -> subprocess.CompletedProcess[str]:
        command = elsewhere.command("run", name, "Hello")
        return subprocess.run(
            command, capture_output=True, text=True, env=environ, stdin=subprocess.DEVNULL, timeout=120
        )

    assert run("chat").stdout == ANSWER
    missing = run("chatt")
    assert missing.returncode == 2 and "no model 'chatt:latest' in this models folder" in missing.stderr
    assert "did you mean 'chat'?" in missing.stderr
    # A project that does not declare it, and one that is broken, have it too.
    elsewhere.write("ModelBuild.toml", '[model.other]\nfrom = "./nowhere"\n')
    assert run("chat").stdout == ANSWER
    elsewhere.write("ModelBuild.toml", "[model")
    assert run("chat").stdout == ANSWER
    assert len(talking.prompts()) == 3


def test_a_model_that_is_not_built_is_not_run_without_a_build(talking: Talking, tmp_path: Path) -> None:
    command = talking.project.command("run", "chat", "x", "--no-build", models=tmp_path / "empty")
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120)
    assert done.returncode == 2 and "'chat:latest' is not built" in done.stderr


def test_a_chat_on_a_terminal(talking: Talking) -> None:
    from tests.cli.typing_on import Typist

    with Typist(talking.command("chat"), talking.fakes.environ()) as typist:
        typist.until(">>> ")
        typist.type("Tell\n")
        typist.until("Once upon a time.\n>>> ")
        typist.type("More\n")
        typist.until("a time.\n>>> ")
        typist.type('"""two\n')
        typist.until("... ")
        typist.type('lines"""\n')
        typist.until("a time.\n>>> ")
        typist.type("/clear\n")
        typist.until(">>> ")
        typist.type("/what\n")
        typist.until("no such command '/what'")
        typist.until(">>> ")
        typist.type("/set parameter temperature 1\n")
        typist.until("no such command '/set': begin again with -p NAME=VALUE")
        typist.until(">>> ")
        typist.type("/etc/hosts is a path\n")
        typist.until("a time.\n>>> ")
        typist.type("/bye\n")
        assert typist.ended() == 0
    assert talking.prompts() == [
        "[You are a test.|Tell]",
        "[You are a test.|Tell]Once upon a time.[|More]",
        "[You are a test.|Tell]Once upon a time.[|More]Once upon a time.[|two\nlines]",
        "[You are a test.|/etc/hosts is a path]",
    ]


@pytest.mark.parametrize(("program", "end"), [("llama-server", "\x03"), ("xllamacpp", "\x04")])
def test_ctrl_c_stops_the_answer_and_leaves_where_there_is_none(talking: Talking, program: str, end: str) -> None:
    """Ctrl-D leaves, too."""
    from tests.cli.typing_on import CTRL_C, Typist

    talking.fakes.package()
    env = talking.fakes.environ(FAKE_LLAMA="endless")
    with Typist(talking.command("chat", "--with", program), env) as typist:
        typist.until(">>> ")
        typist.type("Tell\n")
        typist.until("and and and")
        typist.type(CTRL_C)
        typist.until("\n>>> ")
        typist.type("Tell\n")
        typist.until("and and and")
        typist.type(CTRL_C)
        typist.until("\n>>> ")
        typist.type(end)
        assert typist.ended(end) == 0
        assert "Traceback" not in typist.seen


def test_ctrl_c_ends_what_is_no_chat(talking: Talking) -> None:
    from tests.cli.typing_on import CTRL_C, Typist

    with Typist(talking.command("chat", "Tell"), talking.fakes.environ(FAKE_LLAMA="endless")) as typist:
        typist.until("and and and")
        typist.type(CTRL_C)
        assert typist.ended(CTRL_C) == 130
        assert "Traceback" not in typist.seen


def test_models_are_sent_to_a_server(talking: Talking, tmp_path: Path) -> None:
    project = talking.project
    project.run()
    config = next((project.models / "manifests").rglob("latest"))
    digest = json.loads(config.read_text())["config"]["digest"]
    found = json.loads((project.models / "blobs" / digest.replace(":", "-")).read_text())
    with serving(tmp_path / "server") as (stand_in, url):
        kept = {key: value for key, value in found.items() if key not in ("architecture", "os")}
        (stand_in.folder / "config.json").write_text(json.dumps(kept))
        project.run("--ollama", url, "chat")
        assert f"sent       chat:latest  {url}" in project.errors
        assert stand_in.models()["chat:latest"]
        project.run("--ollama", url)
        assert f"unchanged  chat:latest  {url}" in project.errors
        # It is run by the server now, which has a folder of its own.
        env = {**os.environ, "OLLAMA_HOST": url}
        command = talking.command("chat", "Tell")
        done = subprocess.run(command, capture_output=True, text=True, env=env, stdin=subprocess.DEVNULL, timeout=120)
        assert done.stdout == "Once upon.\n" and "with ollama" in done.stderr, done.stderr

        stand_in.rewrites = True
        project.write("ModelBuild.toml", TOML.replace("0.2", "0.3"))
        project.run("--ollama", url, "--json")
        assert "the server made another model of 'chat:latest'" in project.errors
        stand_in.refuses = "out of disk"
        project.run("--ollama", url, code=1)
        assert "refuses 'chat:latest': out of disk" in project.errors
        stand_in.version = "0.1.0"
        project.run("--ollama", url, code=2)
        assert "too old" in project.errors
    project.write("ModelBuild.toml", TOML)
    project.run("--ollama", url, code=2)
    assert "no answer from the Ollama server" in project.errors
    project.run("--ollama", url, "--watch", code=2)


def test_what_is_no_prompt_is_said_before_a_model_is_loaded(talking: Talking) -> None:
    for data, told in ((b"Tell \xff", "expected UTF-8 on stdin, got byte 0xff at 5"), (b" \n", "there is no prompt")):
        command = talking.command("chat")
        done = subprocess.run(command, input=data, capture_output=True, timeout=120, env=talking.fakes.environ())
        assert done.returncode == 2 and told in done.stderr.decode() and not talking.prompts()


def test_stdin_that_is_closed_is_none(talking: Talking) -> None:
    command = ["sh", "-c", 'exec "$@" <&-', "sh", *talking.command("chat", "Tell")]
    env = talking.fakes.environ(PATH=f"{talking.fakes.bin}:{os.defpath}")
    done = subprocess.run(command, capture_output=True, timeout=120, env=env, text=True)
    assert done.stdout == ANSWER, done.stderr


def test_a_server_ends_with_a_run_that_is_killed(talking: Talking) -> None:
    env = talking.fakes.environ(FAKE_LLAMA="endless")
    with subprocess.Popen(
        talking.command("chat", "Tell"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=env,
    ) as process:
        assert process.stdout and process.stdout.read(4)
        process.kill()
    end = time.monotonic() + 60
    while _servers(talking) and time.monotonic() < end:
        time.sleep(0.05)
    assert not _servers(talking)


def _servers(talking: Talking) -> list[str]:
    """The processes of the stand-in for `llama-server`, and their guards."""
    shown = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, env={"PATH": os.defpath}).stdout
    return [line for line in shown.splitlines() if str(talking.fakes.bin) in line]
