"""Programs of the user's own: what they are given, what runs them again, and what is believed of them. They are made up here.

The dangers of such programs, each with its test: several revisions mixed (session/test_foreign.py, and the first two here), programs
that happen to be on the PATH, another environment, files that nobody hashed, the network, code of strangers, results that nobody read, and
failures without a word, without room or without an end.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from modelbuild.tensors.formats import gguf
from tests import checkpoints, tooling
from tests.e2e.in_process import InProcess
from tests.e2e.project import Project

TOML = """
[defaults]
convert = ["native", "llama.cpp"]
[tools]
llama_cpp = "llama.cpp"
python = "python/bin/python"
[model.m]
from = "./Mystery"
quantize = "q8_0"
template = "{{ .Prompt }}"
"""
CONFIG: dict[str, Any] = {
    "architectures": [tooling.CLASS], "vocab_size": 300, "block_count": 1, "embedding_length": 64, "attention.head_count": 4,
}  # fmt: skip


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = InProcess(tmp_path)
    tooling.write(tmp_path)
    project.write("ModelBuild.toml", TOML)
    weights(tmp_path)
    return project


def weights(root: Path, seed: int = 1, **changes: Any) -> None:
    folder = root / "Mystery"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**CONFIG, **changes}))
    shapes = {"embed": (300, 64), "q": (64, 64), "norm": (64,)}
    tensors = {
        name: ("BF16", shape, checkpoints.encode(checkpoints.values(shape[0] * (shape[1:] or (1,))[0], seed), "bf16"))
        for name, shape in shapes.items()
    }
    checkpoints.save(folder / "model.safetensors", tensors)


def ran(project: Project, *words: str, code: int = 0) -> set[str]:
    """The steps that a build runs."""
    return {name for name, state in project.build(*words, code=code).items() if state == "ran"}


def log(project: Project) -> str:
    """What the tool said that ran last."""
    tool = [event for event in project.events if event["event"] == "tool"][-1]
    return Path(project.folder, tool["log"]).read_text()


def test_an_unknown_class_is_built_in_one_command(project: Project) -> None:
    left = project.cache / "tools" / "work-dead"
    left.mkdir(parents=True)
    (left / "lock").touch()
    assert ran(project) >= {"m/converted", "m/import", "m/quantize", "m/model", "m/manifest"}
    # What a killed build left is gone as well.
    assert not list(project.cache.glob("tools/work-*"))
    assert ran(project) == set()
    (table,) = [
        gguf.table(str(path)) for path in (project.models / "blobs").iterdir() if path.read_bytes()[:4] == b"GGUF"
    ]
    assert table.tensors["blk.0.attn_q.weight"].dtype == "q8_0"
    assert table.metadata["general.architecture"] == gguf.encode_value("str", "mystery")
    project.run("verify", "--rebuild", "9")
    # The file of the tool is made again where a step needs it and it is gone.
    for path in (project.cache / "blobs").iterdir():
        if path.read_bytes()[:4] == b"GGUF" and path.stat().st_nlink == 1:
            path.unlink()
    project.write("ModelBuild.toml", TOML.replace("q8_0", "q4_0"))
    assert ran(project) >= {"m/converted", "m/quantize", "m/model"}


def test_a_changed_byte_of_the_tool_another_package_and_a_changed_input_run_it_again_and_nothing_else(
    project: Project,
) -> None:
    ran(project)
    root = project.folder
    # Equal results go on with nothing.
    base = root / "llama.cpp/conversion/base.py"
    base.write_text(base.read_text() + "# another revision\n")
    assert ran(project) == {"m/converted"}
    assert "conversion/base.py changed" in project.run("explain") and "foreign: m:latest is made with" in project.errors
    tooling.package(tooling.site(root), "torch", "2.14.0")
    assert ran(project) == {"m/converted"}
    assert "torch of the interpreter changed (2.13.0 -> 2.14.0)" in project.run("explain")
    weights(root, seed=2)
    assert ran(project) >= {"m/converted", "m/import", "m/quantize", "m/model"}
    # What is not a part of it, or of its interpreter's answer, does nothing.
    (root / "llama.cpp/README.md").write_text("another one\n")
    (root / "llama.cpp/conversion/notes.txt").write_text("not a module\n")
    (root / "llama.cpp/conversion/__pycache__").mkdir()
    (root / "llama.cpp/conversion/__pycache__/base.pyc").write_bytes(b"")
    tooling.package(tooling.site(root), "requests", "1.0")
    os.utime(base)
    assert ran(project) == set()
    project.write("ModelBuild.toml", TOML + 'system = "hello"\n')
    assert ran(project) == {"m/system", "m/manifest"}
    # A step back is as free as ever.
    weights(root, seed=1)
    assert "m/converted" not in ran(project)


def test_it_sees_only_what_was_hashed_and_an_environment_of_its_own(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(project.folder / "elsewhere"))
    monkeypatch.setenv("HF_TOKEN", "secret")
    project.write("elsewhere/gguf.py", "raise SystemExit('the wrong one')")
    for name in ("README.md", "pytorch.onnx", ".hidden", "nested/config.json", "nested/deep/more.json"):
        project.write(f"Mystery/{name}", "{}")
    ran(project)
    said = log(project)
    environment = json.loads(re.search("^environment (.*)$", said, re.MULTILINE)[1])  # type: ignore[index]
    home = environment["HOME"]
    assert environment["HF_HUB_OFFLINE"] == environment["TRANSFORMERS_OFFLINE"] == "1"
    assert environment["PYTHONHASHSEED"] == "0" and environment["HF_HOME"].startswith(home)
    assert not environment.keys() & {"PYTHONPATH", "HF_TOKEN", "USER"}
    assert not os.path.exists(home) and "stdin True" in said
    listing = json.loads(re.search("^listing (.*)$", said, re.MULTILINE)[1])  # type: ignore[index]
    assert listing == ["README.md", "config.json", "model.safetensors", "nested/config.json"]


def test_init_and_check_propose_the_tool(project: Project) -> None:
    (project.folder / "ModelBuild.toml").unlink()
    project.run("init")
    assert "1 checkpoint of a class that is not supported: Mystery (MysteryForCausalLM)" in project.errors
    assert '[defaults] convert = ["native", "llama.cpp"]' in project.errors
    project.run("check", code=1)
    assert "let your own llama.cpp convert it" in project.errors


def test_nothing_of_the_path_is_taken(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{project.folder}/python/bin:{project.folder}/llama.cpp/bin:{os.environ['PATH']}")
    project.write("ModelBuild.toml", TOML.replace('python = "python/bin/python"\n', ""))
    project.build(code=2)
    assert "[tools] names no interpreter for llama.cpp's converter" in project.errors
    project.write("ModelBuild.toml", TOML.replace('llama_cpp = "llama.cpp"\n', ""))
    project.build(code=2)
    assert "[tools] names no folder of llama.cpp's converter" in project.errors
    project.write("ModelBuild.toml", TOML.replace('convert = ["native", "llama.cpp"]\n', ""))
    project.build(code=1)
    assert "is not supported yet" in project.errors and 'convert = ["native", "llama.cpp"]' in project.errors


REACH = "import socket; print('reach', socket.socket().connect_ex(('192.0.2.1', 9)))"


def test_it_has_no_network_or_the_event_says_so(project: Project) -> None:
    weights(project.folder, do=REACH)
    ran(project)
    (tool,) = [event for event in project.events if event["event"] == "tool"]
    assert tool["tool"] == "llama.cpp's converter" and tool["step"] == "m/converted"
    if not tool["network"]:
        assert "reach 101" in log(project)  # unreachable


def test_it_cannot_write_what_it_was_given(project: Project) -> None:
    target = project.folder / "Mystery" / "config.json"
    weights(project.folder, do=f"open({str(target)!r}, 'a').write(' ')")
    project.build(code=1)
    # Where the system gives it a file system of its own it fails there, else the source has changed.
    assert "Read-only file system" in project.errors or "source changed during the build" in project.errors
    assert "m/import" not in [event.get("step") for event in project.events if event.get("state") == "ran"]


@pytest.mark.parametrize(
    ("name", "text"),
    [("modeling_mystery.py", ""), ("pytorch_model.bin", "x"), ("tokenizer_config.json", '{"auto_map": {}}')],
)
def test_code_of_a_checkpoint_is_run_only_if_it_is_trusted(project: Project, name: str, text: str) -> None:
    project.write(f"Mystery/{name}", text)
    project.build(code=2)
    assert "code of its own, or pickled weights" in project.errors and name in project.errors
    assert "[model.m] trust = true" in project.errors
    assert not list(project.cache.glob("tools/*"))
    project.write("ModelBuild.toml", TOML + "trust = true\n")
    if name.endswith(".py"):
        assert "m/converted" in ran(project) and name in log(project)
    else:
        assert "m/converted" in project.run("-n")


def test_pickled_weights_alone_are_given_to_it(project: Project) -> None:
    (project.folder / "Mystery/model.safetensors").rename(project.folder / "Mystery/pytorch_model.bin")
    do = "os.chdir(asked.model); import io; real = Path.read_bytes; Path.read_bytes = lambda p: real(Path('pytorch_model.bin')); "
    weights_config = {**CONFIG, "do": do + "asked.model, asked.outfile = '.', os.path.join('..', asked.outfile)"}
    project.write("Mystery/config.json", json.dumps(weights_config))
    project.write("ModelBuild.toml", TOML + "trust = true\n")
    assert "m/model" in ran(project)


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"tokens": 299}, "made cannot be used: the vocabulary has 299 tokens, but 'token_embd.weight' has 300 rows"),
        ({"do": "os.symlink('/etc/passwd', asked.outfile); sys.exit(0)"}, "it is not a file of its own"),
    ],
)
def test_what_it_made_is_read_before_it_is_believed(project: Project, changes: dict[str, Any], wrong: str) -> None:
    """tests/tools has what else is wrong with a file."""
    weights(project.folder, **changes)
    project.build(code=1)
    assert wrong in project.errors


def test_its_last_error_is_the_message_and_the_rest_is_kept(project: Project) -> None:
    weights(project.folder, do="print('much before'); raise KeyError('hidden_size')")
    project.build(code=1)
    assert "llama.cpp's converter failed: KeyError: 'hidden_size'" in project.errors
    assert "much before" in log(project) and os.path.dirname(log_of(project)) in project.errors.replace("\n", "")


def test_a_model_of_embeddings_that_it_made_is_not_given_to_llama_imatrix(project: Project) -> None:
    project.write("t.txt", "some words\n" * 50)
    toml = TOML.replace("[model", 'binaries = "llama.cpp/bin"\n[model', 1)
    project.write("ModelBuild.toml", toml.replace("q8_0", "q4_K_M") + 'imatrix = { text = "t.txt" }\n')
    weights(project.folder, arch="neo-bert")
    project.build(code=1)
    assert "foretells no tokens: llama-imatrix cannot read 'neo-bert'" in project.errors
    assert 'set imatrix = ""' in project.errors


def log_of(project: Project) -> str:
    tool = [event for event in project.events if event["event"] == "tool"][-1]
    return os.path.relpath(tool["log"], project.folder)


def test_a_stopped_build_leaves_nothing_of_it(project: Project) -> None:
    child = "import subprocess; subprocess.Popen(['/bin/sleep', '765.4323'], start_new_session=True); "
    weights(project.folder, do=child + "open(asked.outfile + '.begun', 'w').close(); import time; time.sleep(600)")
    process = subprocess.Popen(project.command(), stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(project.cache.glob("tools/work-*/made/*.begun")) and time.monotonic() < deadline:
        time.sleep(0.05)
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert time.monotonic() - begun < 5 and process.returncode == 130
    assert not list(project.cache.glob("tools/work-*"))
    if isolated(project):
        assert b"765.4323" not in b"".join(
            path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if readable(path)
        )


def isolated(project: Project) -> bool:
    weights(project.folder)
    ran(project)
    return not [event for event in project.events if event["event"] == "tool"][-1]["processes"]


def readable(path: Path) -> bool:
    try:
        path.read_bytes()
    except OSError:
        return False
    return True


def test_too_little_room_is_said_before_it_starts(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    from modelbuild import machine
    from modelbuild.plan import needs
    from modelbuild.tools import Sizes, converter

    needed = converter.needs({"outtype": "auto"}, Sizes(79_000_000_000, 1_000_000_000))
    assert needed.disk >= 79_000_000_000 and needed.memory >= 4_000_000_000
    monkeypatch.setattr(machine, "available", lambda: 1000)
    (found,) = needs.short_of([needs.Need("m/converted", 0, 1 << 30, stored=True, tool="llama.cpp's converter")],
                              needs.Room(str(project.folder)))["m/converted"]  # fmt: skip
    assert found.what == "this machine has too little memory for llama.cpp's converter"


IMPORTANCE = """
[tools]
binaries = "llama.cpp/bin"
[model.m]
from = "./weights"
quantize = "q4_K_M"
imatrix = { text = "texts/calibration.txt", chunks = 3 }
template = "{{ .Prompt }}"
"""


@pytest.fixture
def native(tmp_path: Path) -> Project:
    project = InProcess(tmp_path)
    tooling.write(tmp_path)
    project.checkpoint()
    project.write("texts/calibration.txt", "some words to be read\n" * 50)
    return project


def test_an_importance_matrix_is_made_from_a_text(native: Project) -> None:
    native.write("ModelBuild.toml", IMPORTANCE)
    assert ran(native) >= {"m/unquantized", "m/imatrix", "m/quantize", "m/model"}
    (table,) = [
        gguf.table(str(path)) for path in (native.models / "blobs").iterdir() if path.read_bytes()[:4] == b"GGUF"
    ]
    said = {
        key: gguf.decode_value(value) for key, value in table.metadata.items() if key.startswith("quantize.imatrix")
    }
    assert said["quantize.imatrix.file"] == "imatrix.gguf" and said["quantize.imatrix.dataset"] == "calibration.txt"
    assert said["quantize.imatrix.chunks_count"] == 3
    assert ran(native) == set()
    # Another type takes the same matrix; another text or number makes another one.
    native.write("ModelBuild.toml", IMPORTANCE.replace("q4_K_M", "q5_K_M"))
    assert "m/imatrix" not in native.run("-n")
    native.write("texts/calibration.txt", "other words\n")
    assert ran(native) >= {"m/imatrix", "m/quantize"}
    assert "calibration.txt changed" in native.run("explain")
    native.write("ModelBuild.toml", IMPORTANCE.replace("q4_K_M", "q5_K_M").replace("chunks = 3", "chunks = 4"))
    assert "m/imatrix" in native.run("-n")


GATE = """
[tools]
llama_cpp = "llama.cpp"
[model.m]
from = "./weights"
template = "{{ .Prompt }}"
[model.m.gate]
kld = 0.002
text = "texts/calibration.txt"
[model.m.matrix]
quantize = ["q8_0", "q2_K"]
[model.chat]
from = "m:q2_K"
system = "hello"
"""


def test_a_gate_stops_the_variant_that_falls_short_and_what_is_based_on_it(native: Project) -> None:
    native.write("ModelBuild.toml", GATE)
    assert "m:q2_K/divergence" in native.run("-n")
    for command in ("check", "list"):
        native.run(command)
    native.build(code=1)
    names = {event["name"] for event in native.events if event["event"] == "variant"}
    assert names == {"m:q8_0"}
    assert "ModelBuild.toml:8:7: model 'm': the model falls short: its divergence is " in native.errors
    assert "expected at most 0.002" in native.errors
    assert not (native.models / "manifests/registry.ollama.ai/library/m/q2_K").exists()
    assert not (native.models / "manifests/registry.ollama.ai/library/chat").exists()
    # The second build measures nothing again, and still fails.
    assert ran(native, code=1) == set()
    told = " ".join(native.run("explain", "m:q2_K", code=None).split())
    assert "m:q2_K is not built because it falls short of its gate: its divergence is " in told
    assert "expected at most 0.002" in told and "never built" not in told
    listed = {row["label"]: row["gate"]["verdict"] for row in json.loads(native.run("list", "--json"))}
    assert listed == {"m:q8_0": "passed", "m:q2_K": "fell short", "chat": "fell short"}
    assert "GATE" in native.run("list")
    told = native.run("status")
    assert "fell short  m:q2_K: its divergence is " in told and "1 passed, 2 fell short" in told
    shown = " ".join(native.run("show", "m:q2_K").split())
    assert "gate divergence at most 0.002" in shown and "ModelBuild.toml:8:1" in shown
    figures = json.loads(native.run("quality", "m", "--json"))
    found = {
        each["label"]: each["divergence"]["kld"] for each in (figures["data"] if isinstance(figures, dict) else figures)
    }
    assert found["m:q2_K"] > 0.002 > found["m:q8_0"]
    assert "KLD" in native.run("quality", "m")
    native.run("quality", "m", "--html", "q.html")
    assert "KL divergence, nats" in (native.folder / "q.html").read_text()
    native.write("ModelBuild.toml", GATE.replace("kld = 0.002", "kld = 5"))
    assert ran(native) >= {"m:q2_K/gate", "m:q2_K/manifest", "chat/manifest"}
    # A variant that is installed stays as it was when its limit is lowered.
    installed = native.models / "manifests/registry.ollama.ai/library/m/q2_K"
    before = installed.read_bytes()
    native.write("ModelBuild.toml", GATE)
    assert ran(native, code=1) == set() and installed.read_bytes() == before
    assert "it falls short of its gate: its divergence is " in " ".join(
        native.run("explain", "m:q2_K", code=None).split()
    )
