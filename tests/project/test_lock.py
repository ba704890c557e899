"""ModelBuild.lock: what is written is read back, and whatever else may stand in it is told by its line."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from modelbuild.checkpoint.chat import Chat
from modelbuild.checkpoint.ggufs import Contents
from modelbuild.errors import Error, Errors
from modelbuild.observed import Observed, unchanged
from modelbuild.project import lock
from tests.projects import check_golden

A, B, COMMIT = "sha256:" + "a" * 64, "sha256:" + "b" * 64, "c" * 40
PINS = {"user/m:v1": B, "llama3.2:latest": A, "hf.co/org/repo@v1.0": COMMIT, "127.0.0.1:5000/library/x:latest": A}
M = "version = 1\n[models]\n"


def test_what_is_written_is_read_back_whatever_the_order() -> None:
    text = lock.encode(PINS)
    assert lock.parse(text, "x.lock") == PINS
    shuffled = list(PINS.items())
    random.Random(1).shuffle(shuffled)
    assert lock.encode(dict(shuffled)) == text
    assert lock.parse(lock.encode({}), "x.lock") == {}
    assert text.decode().splitlines()[5:7] == [
        f'"127.0.0.1:5000/library/x:latest" = "{A}"',
        f'"llama3.2:latest" = "{A}"',
    ]


DIGESTS = f"{A} xxh3:{'d' * 32}"
HEAD = {
    "role": "model",
    "architecture": "llama",
    "unquantized": True,
    "talks": True,
    "chat": "{{ a }}\r\n\t\"\x7f'",
    "eos": "</s>",
}


def test_weights_are_read_back_with_what_their_heads_say() -> None:
    pins = {"./x.gguf": lock.with_head(DIGESTS, HEAD), "./a/model.safetensors": DIGESTS}
    pins["./b/model.safetensors"] = lock.with_head(DIGESTS, {"parts": "draft projector"})
    text = lock.encode({**pins, "a:latest": A})
    assert lock.parse(text, "x.lock") == {**pins, "a:latest": A}
    assert lock.weights(lock.parse(text, "x.lock"), "/p") == {
        "/p/x.gguf": lock.Pinned(A, f"xxh3:{'d' * 32}", HEAD),
        "/p/a/model.safetensors": lock.Pinned(A, f"xxh3:{'d' * 32}"),
        "/p/b/model.safetensors": lock.Pinned(A, f"xxh3:{'d' * 32}", {"parts": "draft projector"}),
    }
    assert {*lock.HEAD_KEYS} == {*Contents("model", True, "", Chat("", "", "", ""), True, True).spelled()}


X = 'version = 1\n[weights."x.gguf"]\n'
WRONG = {
    "conflict": f'{M}<<<<<<< HEAD\n"a:latest" = "{A}"\n=======\n"a:latest" = "{B}"\n>>>>>>> theirs\n',
    "no_toml": f'{M}"a:latest" = sha256\n',
    "cut_short": f'{M}"a:latest" = "sha256:aa',
    "empty": "",
    "newer": "version = 2\n",
    "no_digest": f'{M}"a:latest" = "sha256:AAAA"\n',
    "no_name": f'{M}"a b" = "{A}"\n',
    "no_tag": f'{M}"a" = "{A}"\n',
    "twice": f'{M}"a:latest" = "{A}"\n"a:latest" = "{B}"\n',
    "unknown_key": "version = 1\n[modles]\n",
    "no_table": "version = 1\nmodels = 3\n",
    "several": f'version = 1\n[models]\nx = 1\n[checkpoints]\n"hf.co/a/b" = "main"\n"../../etc" = "{COMMIT}"\n',
    "no_head": f'{X}digests = "{DIGESTS}"\nrole = "model"\narchitecture = 3\nunquantized = true\n',
    "no_role": f'{X}digests = "{DIGESTS}"\nrole = "x"\narchitecture = ""\nunquantized = true\n',
    "half_a_head": f'{X}digests = "{DIGESTS}"\nrole = "model"\n',
    "no_digests": f'{X}role = "model"\n[weights."../y"]\n',
    "unknown_in_head": f'{X}digests = "{DIGESTS}"\nrole = "model"\narchitecture = ""\nunquantized = true\ntalk = true\n',
    "deep": "x = " + "[" * 5000,
}
"""Case -> the text of a lock."""


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_told_by_its_line(case: str) -> None:
    with pytest.raises((Error, Errors)) as caught:
        lock.parse(WRONG[case].encode(), "ModelBuild.lock")
    check_golden(f"lock_{case}", f"{caught.value}\n")


@pytest.mark.parametrize("number", ["9" * 5000, "0x" + "f" * 5000])
@pytest.mark.parametrize("text", ["version = {}\n", 'version = 1\n[models]\n"a:latest" = [{}]\n'])
def test_a_number_of_thousands_of_digits_is_no_crash(text: str, number: str) -> None:
    with pytest.raises((Error, Errors), match="thousands of digits"):
        lock.parse(text.format(number).encode(), "ModelBuild.lock")


def test_bytes_that_are_no_text_and_a_huge_file() -> None:
    with pytest.raises(Error) as caught:
        lock.parse(b"version = 1\n\xff", "ModelBuild.lock")
    assert (caught.value.line, caught.value.what) == (2, "the text is not UTF-8")
    with pytest.raises(Error, match="bytes long, expected at most"):
        lock.parse(bytes(lock.LIMIT + 1), "ModelBuild.lock")


def test_a_look_at_a_lock_is_written_down(tmp_path: Path) -> None:
    file, observed = str(tmp_path / "ModelBuild.toml"), Observed()
    assert lock.observe(file, observed) == {}
    looks = observed.looks()
    assert unchanged(looks, lambda path: "")
    (tmp_path / "ModelBuild.lock").write_bytes(lock.encode(PINS))
    assert not unchanged(looks, lambda path: "")
    assert lock.observe(file, Observed()) == PINS


NAMES = {"nul": "a\\u0000b.gguf", "the folder itself": ".", "no system opens it": "a/" * 3000 + "x.gguf", "none": ""}


@pytest.mark.parametrize("case", NAMES)
def test_names_that_no_weights_have_are_refused(case: str) -> None:
    with pytest.raises(Errors, match="expected the path of a weights file"):
        lock.parse(f'version = 1\n[weights]\n"{NAMES[case]}" = "{DIGESTS}"\n'.encode(), "x.lock")


def test_a_name_that_is_not_utf_8_is_not_pinned() -> None:
    assert lock.weights_name("/p/a/\udcff.gguf", "/p") is None
    assert lock.weights_name("/p\udcff/\u00e9.gguf", "/p\udcff") == "./\u00e9.gguf"


def test_where_a_lock_lies() -> None:
    assert lock.path("/p/ModelBuild.toml") == "/p/ModelBuild.lock"
    assert lock.path("/p/other.toml") == "/p/other.lock"
    assert lock.path("/p/Modelfile") is None and lock.observe("/p/Modelfile", Observed()) == {}


def test_a_lock_that_cannot_be_read(tmp_path: Path) -> None:
    os.mkdir(tmp_path / "ModelBuild.lock")
    with pytest.raises(Error, match="cannot be read") as caught:
        lock.observe(str(tmp_path / "ModelBuild.toml"), Observed())
    assert caught.value.hint


def test_changes_are_told_by_name() -> None:
    changes = lock.changes({"a:latest": A, "b:latest": A}, {"a:latest": B, "c:latest": A})
    assert [*lock.told(changes)] == [
        ("a:latest", f"{A} -> {B}"),
        ("b:latest", f"{A} -> not pinned"),
        ("c:latest", f"not pinned -> {A}"),
    ]
