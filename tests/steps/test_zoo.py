"""Every checkpoint of the zoo becomes the file that llama.cpp's converter made of it when it was recorded."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from modelbuild.checkpoint import architectures
from modelbuild.checkpoint import classes as checkpoint_classes
from modelbuild.checkpoint.config import class_of
from modelbuild.tensors.evaluate import Region
from modelbuild.tensors.formats import gguf
from modelbuild.tensors.formats.gguf import decode_value, type_name
from modelbuild.tensors.materialize import Resources, materialize
from tests import recipes, zoo

GOLDEN = Path(__file__).parents[1] / "golden/zoo"
RECORDED_WITH = {"llama.cpp": "of llama-cpp-python 0.3.36", "transformers": "4.57.6"}
CASES = [(model_type, name) for model_type in zoo.model_types() for name in zoo.cases(model_type)]


def golden(model_type: str) -> dict[str, Any]:
    found = json.loads((GOLDEN / f"{model_type}.json").read_text())
    assert isinstance(found, dict)
    return found


def digest(data: bytes) -> str:
    """16 digits: enough to tell which tensor it is. The whole files have all 64."""
    return hashlib.sha256(data).hexdigest()[:16]


def record(files: Mapping[str, Path]) -> dict[str, Any]:
    """What is kept of the files that one checkpoint became, by outtype.

    files     sha256
    metadata  key -> its type and value, or its type and digest where it is long; of general.file_type, one for each outtype
    tensors   name -> type and digest, one for each outtype, one for all where they are the same
    """
    metadata: dict[str, list[Any]] = {}
    tensors: dict[str, list[str]] = {}
    whole = {}
    for outtype, path in files.items():
        data = path.read_bytes()
        whole[outtype] = hashlib.sha256(data).hexdigest()
        table = gguf.read_header(str(path)).table
        if outtype == "auto":
            continue  # One of the others, byte for byte.
        for key, value in table.metadata.items():
            shown = decode_value(value) if len(value) <= 80 else digest(value)
            metadata.setdefault(key, []).append([type_name(value), shown])
        for name, tensor in table.tensors.items():
            part = digest(data[tensor.offset : tensor.offset + tensor.length])
            tensors.setdefault(name, []).append(f"{tensor.dtype}{list(tensor.shape)} {part}")
    return {
        "files": whole,
        "metadata": {key: values[0] if len(set(map(str, values))) == 1 else values for key, values in metadata.items()},
        "tensors": {name: parts[0] if len(set(parts)) == 1 else parts for name, parts in tensors.items()},
    }


def spelled(value: Any, depth: int = 0) -> str:
    """JSON with one line for each file, value and tensor."""
    if depth == 3 or not isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    lines = [f"{' ' * (depth + 1)}{json.dumps(key)}: {spelled(part, depth + 1)}" for key, part in value.items()]
    return "{\n" + ",\n".join(lines) + "\n" + " " * depth + "}"


def made(folder: Path, case: zoo.Case, scratch: Path, outtypes: Sequence[str]) -> dict[str, Path]:
    """The files that a checkpoint becomes, by outtype."""
    inputs = recipes.Folder(folder)
    regions = {
        tensor.digest: Region(str(folder / file), tensor.offset, tensor.length, name)
        for file, table in inputs.tables()
        for name, tensor in table.tensors.items()
    }
    found = {}
    with ThreadPoolExecutor(2) as pool:
        for outtype in outtypes:
            recipe = recipes.converted(folder, outtype, case.pre, case.mtp)
            found[outtype] = scratch / f"{outtype}.gguf"
            with found[outtype].open("wb") as file:
                materialize(
                    recipe,
                    file.fileno(),
                    find=lambda keys: {},
                    open_leaf=regions.__getitem__,
                    resources=Resources(pool, 2, 64 << 20, threading.Event()),
                )
    return found


def check(model_type: str, name: str, scratch: Path, outtypes: Sequence[str]) -> None:
    case = zoo.cases(model_type)[name]
    folder = zoo.write(scratch / "model", case)
    files, expected = made(folder, case, scratch, outtypes), golden(model_type)[name]
    if all(hashlib.sha256(path.read_bytes()).hexdigest() == expected["files"][each] for each, path in files.items()):
        return
    found = record(made(folder, case, scratch, zoo.OUTTYPES))
    for part in ("metadata", "tensors", "files"):
        assert list(found[part]) == list(expected[part])
        for key in found[part]:
            assert found[part][key] == expected[part][key], key


def quick(model_type: str, name: str) -> tuple[str, ...]:
    """The outtypes of every run: as it is, and of the first case of each type quantized, too."""
    return ("auto", "q8_0") if name == next(iter(zoo.cases(model_type))) else ("auto",)


@pytest.mark.parametrize(("model_type", "name"), CASES)
def test_checkpoint_becomes_the_recorded_file(model_type: str, name: str, tmp_path: Path) -> None:
    check(model_type, name, tmp_path, quick(model_type, name))


@pytest.mark.peer
@pytest.mark.parametrize(("model_type", "name"), CASES)
def test_checkpoint_becomes_the_recorded_file_in_every_outtype(model_type: str, name: str, tmp_path: Path) -> None:
    check(model_type, name, tmp_path, [each for each in zoo.OUTTYPES if each not in quick(model_type, name)])


@pytest.mark.parametrize("model_type", zoo.model_types())
def test_what_is_recorded_is_what_the_zoo_holds(model_type: str) -> None:
    assert golden(model_type) == {**golden(model_type), "recorded with": RECORDED_WITH}
    assert list(golden(model_type)) == ["recorded with", *zoo.cases(model_type)]


def classes(*keys: str) -> set[str]:
    return {name for kind in architectures.known() for key in keys for name in vars(kind).get(key, ())}


def test_the_page_names_every_class_that_is_read() -> None:
    page = (Path(__file__).parents[2] / "docs/conversion.md").read_text()
    named = set(
        re.findall(
            r"\b[A-Z]\w+(?:For(?:CausalLM\w*|ConditionalGeneration|MaskedLM|SequenceClassification)|Model)\b",
            page.partition("## Tokenizers")[0],
        )
    )
    read = classes("CLASSES", "ALIASES")
    assert read <= named <= read | set(checkpoint_classes.read(checkpoint_classes.PROJECTORS)), named ^ read


def test_every_class_has_checkpoints_in_the_zoo() -> None:
    shown = {class_of(case.config) for model_type in zoo.model_types() for case in zoo.cases(model_type).values()}
    assert classes("CLASSES") <= shown, classes("CLASSES") - shown
