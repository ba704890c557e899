"""A machine without the weights: adapters and GGUF files that the lock pins, and what was made of them, by the remote cache."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from modelbuild.engine import build as engine_build
from modelbuild.plan import given
from modelbuild.sharing import contents
from modelbuild.tensors.formats import gguf, split
from modelbuild.tensors.formats.limit import Limit
from tests import adapters, zoo
from tests.attacks.test_adapter_lies import gguf_file as adapter_file
from tests.e2e.in_process import InProcess
from tests.e2e.project import flip, old, tensor_offset
from tests.e2e.test_projectors import SEEING
from tests.e2e.test_quantize_options import importance
from tests.e2e.test_remote_cache import Machine, pointer
from tests.plan.test_plan import gguf_file

PROJECTIONS = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
CASE = zoo.cases("llama")["bf16"]
LARGE = (".safetensors", ".gguf")

ADAPTERS = """\
[cache]
remote = "file://{share}"
[model.merged]
from = "./base"
quantize = "q8_0"
matrix.voice = ["peft", "mlx"]
adapters = [{{ path = "${{matrix.voice}}", mode = "merge" }}]
[model.layered]
from = "./base"
adapters = [{{ path = "peft" }}, {{ path = "mlx/adapters.safetensors", scale = 0.5 }}]
"""


class Clone(Machine):
    """A clone of a project, whose large files can be left out."""

    def __init__(self, folder: Path, toml: str) -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        (folder.parent / "share").mkdir(exist_ok=True)
        super().__init__(folder, "")
        self.write("ModelBuild.toml", toml.format(share=folder.parent / "share"))

    def large(self) -> list[Path]:
        return sorted(
            path for path in self.folder.rglob("*") if path.suffix in LARGE and self.models not in path.parents
        )

    def without(self, lock_of: Clone, left: str = "nothing") -> None:
        """Take over a lock, and leave nothing or a pointer of each large file."""
        self.write("ModelBuild.lock", (lock_of.folder / "ModelBuild.lock").read_text())
        for path in self.large():
            oid = f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
            path.unlink()
            if left == "pointer":
                path.write_text(pointer(oid))
            elif not list(path.parent.iterdir()):
                # Git keeps no empty folders.
                path.parent.rmdir()


def with_adapters(folder: Path, toml: str = ADAPTERS) -> Clone:
    clone = Clone(folder, toml)
    zoo.write(folder / "base", CASE)
    pairs = adapters.factors(CASE.shapes, r".*(q_proj|v_proj)")
    adapters.write_peft(folder / "peft", pairs)
    adapters.write_mlx(folder / "mlx", pairs)
    return clone


@pytest.mark.parametrize("left", ["nothing", "pointer"])
def test_adapters_need_not_be_there(tmp_path: Path, left: str) -> None:
    first, second = with_adapters(tmp_path / "first"), with_adapters(tmp_path / "second")
    first.build()
    second.without(first, left)
    second.build()
    assert second.computed == 0
    assert second.tree() == first.tree()
    assert second.build("--remote-cache", "off") == {}
    # What nobody has built names what is missing.
    second.write("ModelBuild.toml", ADAPTERS.replace("scale = 0.5", "scale = 0.25").format(share=tmp_path / "share"))
    second.build("-k", code=1)
    assert "adapters.safetensors" in second.errors and "the weights are not here" in second.errors
    assert ("git lfs pull" in second.errors) == (left == "pointer")


def test_what_is_there_counts_before_what_the_lock_pins(tmp_path: Path) -> None:
    """The adapter of MLX was replaced by one of PEFT, which the lock does not know yet."""
    clone = with_adapters(
        tmp_path / "first", ADAPTERS.replace(', {{ path = "mlx/adapters.safetensors", scale = 0.5 }}', "")
    )
    clone.build()
    assert '"mlx/adapters.safetensors"' in (clone.folder / "ModelBuild.lock").read_text()
    (clone.folder / "mlx" / "adapters.safetensors").unlink()
    (clone.folder / "peft" / "adapter_model.safetensors").rename(clone.folder / "mlx" / "adapter_model.safetensors")
    (clone.folder / "peft" / "adapter_config.json").rename(clone.folder / "mlx" / "adapter_config.json")
    clone.build("merged:mlx")
    lock = (clone.folder / "ModelBuild.lock").read_text()
    assert '"mlx/adapter_model.safetensors"' in lock


GGUFS = """\
[cache]
remote = "file://{share}"
[model.whole]
from = "ggufs/chat.gguf"
[model.small]
from = "./ggufs/chat.gguf"
quantize = "q8_0"
[model.split]
from = "./split/chat-00001-of-00003.gguf"
quantize = "q4_0"
[model.folder]
from = "./seer"
[model.many]
from = "./ggufs/chat.gguf"
projector = "p.gguf"
adapters = [{{ path = "voice" }}, {{ path = "l.gguf", scale = 0.5 }}]
draft = "ggufs/chat.gguf"
[model.merged]
from = "./ggufs/chat.gguf"
quantize = "q8_0"
adapters = [{{ path = "l.gguf", mode = "merge" }}]
"""


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A GGUF file of a chat model."""
    project = InProcess(tmp_path_factory.mktemp("chat"))
    project.checkpoint()
    project.write("ModelBuild.toml", '[model.chat]\nfrom = "./weights"\n')
    project.build()
    return project.blob("chat:latest", "model")


def with_ggufs(folder: Path, chat: bytes) -> Clone:
    factors = {"blk.0.attn_q.weight.lora_a": (4, 256), "blk.0.attn_q.weight.lora_b": (256, 4)}
    voice, tower = adapter_file(factors, fill=0.1), gguf_file("mmproj")
    clone = Clone(folder, GGUFS)
    clone.write("chat.Modelfile", "FROM ggufs/chat.gguf\nSYSTEM Hello.\n")
    files = {"ggufs/chat.gguf": chat, "seer/chat.gguf": chat, "seer/mmproj.gguf": tower, "p.gguf": tower}
    for name, data in {**files, "voice/a.gguf": voice, "l.gguf": voice}.items():
        clone.write(name, "").write_bytes(data)
    parts = split.parts(gguf.read_header(str(folder / "ggufs/chat.gguf")).table, Limit(0, 8))
    assert len(parts) == 3
    for number, part in enumerate(parts, 1):
        tensors = [chat[each.offset : each.offset + each.length] for each in part.tensors]
        data = b"".join(each + bytes(-len(each) % gguf.ALIGNMENT) for each in tensors)
        clone.write(f"split/chat-{number:05}-of-00003.gguf", "").write_bytes(part.head + data)
    for path in clone.large():
        old(path)
    return clone


@pytest.mark.parametrize("left", ["nothing", "pointer"])
def test_gguf_files_need_not_be_there(tmp_path: Path, chat: bytes, left: str) -> None:
    first, second = with_ggufs(tmp_path / "first", chat), with_ggufs(tmp_path / "second", chat)
    first.build()
    assert first.computed > 0
    second.without(first, left)
    assert json.loads(second.run("--json", "list"))[0]["label"] == "whole"
    second.run("check")
    second.build("-n")
    second.build()
    assert second.computed == 0
    assert second.tree() == first.tree()
    assert second.build("--remote-cache", "off") == {}
    assert (second.folder / "ModelBuild.lock").read_bytes() == (first.folder / "ModelBuild.lock").read_bytes()
    for words in (["status"], ["show", "many"], ["show", "split"], ["explain"], ["verify", "--rebuild", "99"]):
        second.run(*words)
    # What nobody has built names what is missing.
    second.write("ModelBuild.toml", '[model.new]\nfrom = "./ggufs/chat.gguf"\nquantize = "q5_0"\n')
    second.build("new", code=1)
    assert "ggufs/chat.gguf" in second.errors
    assert ("git lfs pull" in second.errors) == (left == "pointer")


def test_a_gguf_file_that_came_back_is_read_and_the_lock_follows(tmp_path: Path, chat: bytes) -> None:
    toml = '[cache]\nremote = "file://{share}"\n[model.a]\nfrom = "./x.gguf"\n'
    first, second = Clone(tmp_path / "first", toml), Clone(tmp_path / "second", toml)
    (first.folder / "x.gguf").write_bytes(chat)
    first.build()
    second.write("ModelBuild.lock", (first.folder / "ModelBuild.lock").read_text())
    second.build()
    (second.folder / "x.gguf").write_bytes(flipped(chat))
    second.build("--locked")
    assert second.manifest("a:latest") != first.manifest("a:latest")
    assert (second.folder / "ModelBuild.lock").read_bytes() == (first.folder / "ModelBuild.lock").read_bytes()
    second.build("--remote-cache", "read", "--force")
    assert (second.folder / "ModelBuild.lock").read_bytes() == (first.folder / "ModelBuild.lock").read_bytes()
    second.build("--force")
    assert (second.folder / "ModelBuild.lock").read_bytes() != (first.folder / "ModelBuild.lock").read_bytes()


def flipped(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def test_a_lock_without_heads_still_counts_for_what_it_has(tmp_path: Path, chat: bytes) -> None:
    toml = '[cache]\nremote = "file://{share}"\n[model.a]\nfrom = "./x.gguf"\n'
    clone = Clone(tmp_path / "first", toml)
    clone.write("ModelBuild.lock", f'version = 1\n[weights]\n"x.gguf" = "sha256:{"a" * 64} xxh3:{"b" * 32}"\n')
    clone.build(code=2)
    assert "x.gguf" in clone.errors
    (clone.folder / "x.gguf").write_bytes(chat)
    clone.build()
    assert 'role = "model"' in (clone.folder / "ModelBuild.lock").read_text()


SEER = """\
[cache]
remote = "file://{share}"
[model.seer]
from = "./base"
quantize = "q8_0"
template = "{{{{ .Prompt }}}}"
"""


def split_in_two(base: Path) -> None:
    """Write the weights of a checkpoint as two files, without an index."""
    data = (base / "model.safetensors").read_bytes()
    size = 8 + int.from_bytes(data[:8], "little")
    rows = [(name, row) for name, row in json.loads(data[8:size]).items() if name != "__metadata__"]
    for number, half in enumerate((rows[::2], rows[1::2]), 1):
        header, body = {}, b""
        for name, row in half:
            start, end = row["data_offsets"]
            header[name] = {**row, "data_offsets": [len(body), len(body) + end - start]}
            body += data[size + start : size + end]
        text = json.dumps(header).encode()
        name = f"model-0000{number}-of-00002.safetensors"
        (base / name).write_bytes(len(text).to_bytes(8, "little") + text + body)
    (base / "model.safetensors").unlink()


def test_the_lock_says_whether_a_checkpoint_has_a_projector(tmp_path: Path) -> None:
    """Without an index, only the tensors tell."""
    first, second = Clone(tmp_path / "first", SEER), Clone(tmp_path / "second", SEER)
    for each in (first, second):
        zoo.write(each.folder / "base", SEEING)
    first.build()
    assert 'parts = "projector"' in (first.folder / "ModelBuild.lock").read_text()
    second.without(first)
    second.build()
    assert second.computed == 0
    assert second.tree() == first.tree()
    # A lock that was written before does not tell.
    lock = (second.folder / "ModelBuild.lock").read_text()
    digests = lock.partition('digests = "')[2].partition('"')[0]
    second.write("ModelBuild.lock", f'version = 1\n[weights]\n"base/model.safetensors" = "{digests}"\n')
    second.build(code=2)
    assert "the lock does not say whether they have a projector or a draft" in second.errors


def test_a_checkpoint_of_several_files_is_looked_at_once_for_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Clone(tmp_path / "first", SEER)
    zoo.write(first.folder / "base", SEEING)
    base = first.folder / "base"
    split_in_two(base)
    folders: list[str] = []
    for_lock = given.for_lock
    monkeypatch.setattr(given, "for_lock", lambda folder: folders.append(folder) or for_lock(folder))
    first.build()
    assert folders == [str(base)]
    assert (first.folder / "ModelBuild.lock").read_text().count('parts = "projector"') == 2


@pytest.mark.parametrize("left", ["nothing", "pointer"])
def test_an_importance_matrix_need_not_be_there(tmp_path: Path, left: str) -> None:
    toml = '[cache]\nremote = "file://{share}"\n[model.a]\nfrom = "./weights"\nquantize = "q4_K_M"\nimatrix = "./im.gguf"\n'
    first, second = Clone(tmp_path / "first", toml), Clone(tmp_path / "second", toml)
    for each in (first, second):
        each.checkpoint()
        importance(each.folder / "im.gguf", [f"blk.{n}.{x}.weight" for n in (0, 1) for x in PROJECTIONS])
    first.build()
    second.without(first, left)
    second.build()
    assert second.computed == 0
    assert second.tree() == first.tree()


LAYER = """\
[cache]
remote = "file://{share}"
[model.a]
from = "./base"
quantize = "q8_0"
"""


def edited(clone: Clone) -> None:
    weights = clone.folder / "base" / "model.safetensors"
    flip(weights, tensor_offset(weights, "model.norm.weight"))
    old(weights)


@pytest.mark.parametrize("words", [("--locked",), ("--remote-cache", "read"), ("--remote-cache", "off")])
def test_what_a_build_may_not_note_the_next_one_notes_and_sends(tmp_path: Path, words: tuple[str, ...]) -> None:
    first, second = Clone(tmp_path / "first", LAYER), Clone(tmp_path / "second", LAYER)
    for each in (first, second):
        zoo.write(each.folder / "base", CASE)
        edited(each)
    first.build(*words)
    assert not (first.folder / "ModelBuild.lock").exists()
    first.run("build")
    assert '"base/model.safetensors"' in (first.folder / "ModelBuild.lock").read_text()
    second.without(first)
    second.build()
    assert second.computed == 0
    assert second.tree() == first.tree()


def test_weights_are_pinned_when_what_was_made_of_them_was_sent(tmp_path: Path) -> None:
    first, second = Clone(tmp_path / "first", LAYER), Clone(tmp_path / "second", LAYER)
    for each in (first, second):
        zoo.write(each.folder / "base", CASE)
        edited(each)
    (tmp_path / "share").rmdir()
    (tmp_path / "share").write_bytes(b"no folder")
    first.build()
    assert not (first.folder / "ModelBuild.lock").exists()
    (tmp_path / "share").unlink()
    (tmp_path / "share").mkdir()
    first.build()
    assert first.computed == 0
    second.without(first)
    second.build()
    assert second.computed == 0
    assert second.tree() == first.tree()


def test_weights_of_a_failed_step_are_not_pinned(tmp_path: Path) -> None:
    clone = Clone(tmp_path / "first", SEER + '[model.good]\nfrom = "./other"\n')
    for folder, case in (("base", SEEING), ("other", CASE)):
        zoo.write(clone.folder / folder, case)
    split_in_two(clone.folder / "base")
    (clone.folder / "base" / "model-00002-of-00002.safetensors").unlink()
    clone.run("build", "-k", code=1)
    lock = (clone.folder / "ModelBuild.lock").read_text()
    assert '"other/model.safetensors"' in lock and "base/" not in lock


def test_a_build_that_owes_the_lock_nothing_is_stamped_for_all(tmp_path: Path) -> None:
    clone = Clone(tmp_path / "first", LAYER)
    zoo.write(clone.folder / "base", CASE)
    edited(clone)
    for _ in range(2):
        clone.run("build")
    clone.run("--locked", "build", "--force")
    assert clone.run("build") == ""
    assert "nothing to do" in clone.errors


def test_locked_warns_of_other_weights(tmp_path: Path) -> None:
    clone = Clone(tmp_path / "first", LAYER)
    zoo.write(clone.folder / "base", CASE)
    clone.build()
    edited(clone)
    for _ in range(2):
        clone.run("--locked", "build")
        assert "the lock pins other weights than those that are here" in clone.errors
        assert "base/model.safetensors" in clone.errors
    clone.run("build")
    clone.run("--locked", "build")
    assert "the lock pins" not in clone.errors


TWO = """\
[cache]
remote = "file://{share}"
[model.one]
from = "./base"
quantize = "q8_0"
[model.two]
from = "./other"
quantize = "q8_0"
"""


def test_a_stale_lock_is_a_fault_of_the_models_that_need_it(tmp_path: Path) -> None:
    first, second = Clone(tmp_path / "first", TWO), Clone(tmp_path / "second", TWO)
    for each in (first, second):
        zoo.write(each.folder / "base", CASE)
        zoo.write(each.folder / "other", CASE)
    first.build()
    second.without(first, "pointer")
    (second.folder / "other" / "model.safetensors").write_text(pointer(f"sha256:{'0' * 64}"))
    listed = {each["model"]: each for each in json.loads(second.run("--json", "list"))}
    assert listed["two"]["built"] != listed["one"]["built"]
    second.run("status")
    second.run("check", code=1)
    assert "is a Git LFS pointer to other weights than the lock pins" in second.errors
    assert f"sha256:{'0' * 64}" in second.errors and "git lfs pull" in second.errors
    second.build("-k", code=1)
    assert second.computed == 0
    assert second.manifest("one:latest") == first.manifest("one:latest")


@pytest.mark.parametrize("with_lock", [True, False])
def test_a_pointer_that_the_lock_does_not_know_breaks_no_list(tmp_path: Path, with_lock: bool) -> None:
    clone = Clone(tmp_path / "first", TWO)
    zoo.write(clone.folder / "base", CASE)
    zoo.write(clone.folder / "other", CASE)
    if with_lock:
        clone.build("one")
    (clone.folder / "other" / "model.safetensors").write_text(pointer(f"sha256:{'0' * 64}"))
    for command in ("list", "status"):
        clone.run(command)
    clone.run("check", code=1)
    assert "is a Git LFS pointer" in clone.errors


def test_an_adapter_that_is_a_pointer_is_looked_at_beside_weights_that_are_away(tmp_path: Path) -> None:
    first, second = with_adapters(tmp_path / "first"), with_adapters(tmp_path / "second")
    first.build()
    second.without(first, "pointer")
    lock = (second.folder / "ModelBuild.lock").read_text()
    second.write("ModelBuild.lock", "".join(line for line in lock.splitlines(True) if "peft" not in line))
    second.run("check", code=1)
    assert "is a Git LFS pointer" in second.errors
    second.build("-k", code=1)
    assert "adapter_model.safetensors: is a Git LFS pointer" in second.errors


def test_the_error_names_the_files_of_the_failed_step_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = with_adapters(tmp_path / "first"), with_adapters(tmp_path / "second")
    for each in (first, second):
        each.checkpoint()
        each.write("ModelBuild.toml", ADAPTERS.format(share=tmp_path / "share") + '[model.b]\nfrom = "./weights"\n')
    first.build()
    second.without(first, "pointer")
    monkeypatch.chdir(second.folder)
    second.run("build", "-k", "merged:peft", "b", "--set", "merged.quantize=q4_0", code=1)
    for error in second.errors.split("error: ")[1:]:
        assert "weights/" not in error and "mlx" not in error
        assert str(second.folder) not in error
        assert error.count("base/model.safetensors") == 1
        assert error.count("peft/adapter_model.safetensors") == 1
    second.run("build", "b", "--force", code=1)
    assert "--force takes nothing from a cache" in second.errors
    assert "in no cache" not in second.errors


def test_a_dry_run_says_that_weights_would_be_missed(tmp_path: Path) -> None:
    first, second = with_adapters(tmp_path / "first"), with_adapters(tmp_path / "second")
    first.build()
    second.without(first, "pointer")
    second.run("build", "-n")
    assert "not here" not in second.errors
    for words in (("--set", "merged.quantize=q4_0"), ("--force",), ("--remote-cache", "off")):
        second.run("build", "-n", "merged:peft", *words, code=1)
        assert "the weights are not here" in second.errors and "git lfs pull" in second.errors
        assert "mlx" not in second.errors
    second.build()
    second.run("build", "-n", "--remote-cache", "off")


def test_update_drops_the_weights_that_no_model_uses(tmp_path: Path) -> None:
    clone = Clone(tmp_path / "first", TWO)
    for name in ("base", "other"):
        zoo.write(clone.folder / name, CASE)
    clone.build()
    lock = clone.folder / "ModelBuild.lock"
    assert '"other/model.safetensors"' in lock.read_text()
    toml = (clone.folder / "ModelBuild.toml").read_text()
    clone.write("ModelBuild.toml", toml.replace("./other", "./gone"))
    clone.run("update")
    assert '"other/model.safetensors"' in lock.read_text(), "what a broken model is made of, nobody knows"
    clone.write("ModelBuild.toml", toml.partition("[model.two]")[0])
    clone.run("update", "--set", "one.quantize=q4_0")
    clone.run("--locked", "update")
    assert '"other/model.safetensors"' in lock.read_text()
    before = lock.read_text()
    clone.run("update")
    assert '"other/model.safetensors"' not in lock.read_text()
    assert '"base/model.safetensors"' in lock.read_text()
    # So does a build that writes the lock, also one of some targets.
    lock.write_text(before)
    edited(clone)
    clone.build("one")
    assert '"other/model.safetensors"' not in lock.read_text()
    assert lock.read_text() != before


def test_a_build_of_some_targets_keeps_what_is_pinned_for_others(tmp_path: Path) -> None:
    clone = Clone(tmp_path / "first", TWO)
    for name in ("base", "other"):
        zoo.write(clone.folder / name, CASE)
    clone.build()
    before = (clone.folder / "ModelBuild.lock").read_text()
    edited(clone)
    clone.build("one")
    after = (clone.folder / "ModelBuild.lock").read_text()
    assert after != before and '"other/model.safetensors"' in after


def test_what_is_there_of_weights_that_were_not_read_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Clone(tmp_path / "first", LAYER), Clone(tmp_path / "second", LAYER)
    for each in (first, second):
        zoo.write(each.folder / "base", CASE)
        for path in each.large():
            old(path)
    first.build()
    assert "?" in second.run("cache", "stat")
    assert json.loads(second.run("--json", "cache", "stat"))[0]["unread"] > 0
    second.run("build", "-n")
    assert "1 weights file (" in second.errors and "is not read yet" in second.errors
    second.run("build", "-n", "--explain")
    assert "not read yet" not in second.errors
    assert "?" not in second.run("cache", "stat")


def test_reading_new_weights_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (contents, engine_build):
        monkeypatch.setattr(module, "LARGE", 1)
    clone = Clone(tmp_path / "first", LAYER)
    zoo.write(clone.folder / "base", CASE)
    clone.build()
    assert len(clone.told("hashing")) == 1
