"""From the files of an adapter to what it changes: PEFT's, MLX's or a GGUF file, told apart by what they hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from modelbuild import bounded_json
from modelbuild.checkpoint.adapters import gguf, mlx, peft
from modelbuild.checkpoint.adapters.adapter import Adapter
from modelbuild.checkpoint.adapters.files import CONFIG, GGUF
from modelbuild.checkpoint.checkpoint import Checkpoint, parse_json
from modelbuild.errors import Error
from modelbuild.tensors import mistaken
from modelbuild.tensors.tensor import TensorTable

TENSORS_LIMIT = 1 << 18
CONFIG_LIMIT = 16 << 20


class Files(Protocol):
    """The files of an adapter by their names; tables may lack the digests of their tensors."""

    def roles(self) -> Sequence[str]: ...
    def file(self, role: str, /) -> bytes | None: ...
    def tables(self) -> Sequence[tuple[str, TensorTable]]: ...


def read(files: Files) -> Adapter:
    """What an adapter changes. Raises Error, whose path is the name of a file."""
    ((role, table),) = files.tables()
    if len(table.tensors) > TENSORS_LIMIT:
        raise Error(f"contains {len(table.tensors):,} tensors, expected at most {TENSORS_LIMIT:,}", path=role)
    if role == GGUF:
        return gguf.read(table)
    config = configuration(files.file(CONFIG))
    # As their bytes lie in the file: llama.cpp's converter takes them so.
    ordered = sorted(table.tensors.items(), key=lambda item: item[1].offset)
    if not ordered:
        raise Error("contains no tensors", path=role, hint="the adapter was not saved: save it again")
    found = mlx.read(config, dict(ordered)) if is_mlx(config, table) else peft.read(config, dict(ordered))
    base = config.get("base_model_name_or_path") or config.get("model")
    task = config.get("task_type")
    return replace(found, base=base if isinstance(base, str) else "", task=task if isinstance(task, str) else "")


def placed(error: Error, files: Files) -> Error:
    """What is wrong with an adapter, in one of its files: that of the weights, where the error does not say another."""
    if error.path or error.parameter or error.input:
        return error.of_input()
    ((role, _),) = files.tables()
    return error.replace(input=role)


def configuration(data: bytes | None) -> Mapping[str, Any]:
    """What adapter_config.json says. Raises Error where there is none."""
    if data is None:
        raise Error(
            "is missing: an adapter's rank and alpha stand there",
            path=CONFIG,
            hint="copy it from where the adapter was trained, to beside the weights",
        )
    mistaken.refuse_pointer(data[:256], CONFIG, "file")
    if len(data) > CONFIG_LIMIT:
        raise Error(f"is {len(data):,} bytes long, expected at most {CONFIG_LIMIT:,}", path=CONFIG)
    return parse_json(bounded_json.text(data, CONFIG), CONFIG)


def is_mlx(config: Mapping[str, Any], table: TensorTable) -> bool:
    """Whether an adapter is MLX's: by what its configuration has, else by what its tensors are called."""
    if "peft_type" in config:
        return False
    if config.keys() & {"lora_parameters", "fine_tune_type"}:
        return True
    return any(name.endswith((".lora_a", ".lora_b")) for name in table.tensors)


def card_of(files: Files, folder: str) -> Checkpoint:
    """The small files of an adapter, its card and its tokenizer among them, and the folder's name."""

    def read(name: str) -> bytes | None:
        return b"{}" if name == "config.json" else files.file(name)

    return Checkpoint(read, files.roles(), folder)
