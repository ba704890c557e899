"""What GGUF files hold, told from their heads: a model, a projector or an adapter; and which files are parts of one."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from typing import Any, Literal

from modelbuild.checkpoint.chat import Chat, embeds, gguf_talks, of_gguf
from modelbuild.errors import Error
from modelbuild.tensors.formats import gguf
from modelbuild.tensors.ftypes import FLOATS, of_number
from modelbuild.tuples import NamedTuple
from modelbuild.words import listed, shown

_PART = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf")


class Contents(NamedTuple):
    """What a file is for, whether all its weights are floats, its `general.architecture`, and its chat template, if it has one.

    talks   whether it is a chat model, as far as it says what it is
    embeds  whether it answers with vectors or scores
    """

    role: Literal["model", "projector", "adapter"]
    unquantized: bool
    architecture: str
    chat: Chat | None
    talks: bool
    embeds: bool = False

    def spelled(self) -> dict[str, str | bool]:
        """All of it as words that may be kept elsewhere, but the file's name."""
        said: dict[str, str | bool | None] = {
            **self._asdict(),
            "chat": None,
            "talks": self.talks or None,
            "embeds": self.embeds or None,
        }
        if self.chat is not None:
            said |= {"chat": self.chat.template, "bos": self.chat.bos, "eos": self.chat.eos}
        return {key: value for key, value in said.items() if value is not None}

    @staticmethod
    def recalled(spelled: Mapping[str, Any], file: str) -> Contents:
        """What was spelled of a file of this name."""
        get = spelled.get
        chat = Chat(spelled["chat"], file, get("bos"), get("eos")) if "chat" in spelled else None
        told = spelled["role"], spelled["unquantized"], spelled["architecture"]
        return Contents(*told, chat, get("talks", False), get("embeds", False))


def classify(path: str) -> Contents:
    """Read a file's head and say what it holds, by its content as Ollama does (server/create.go). Raises Error."""
    table = gguf.read_header(path).table
    floats = all(tensor.dtype in (*FLOATS, "f64") for tensor in table.tensors.values() if len(tensor.shape) > 1)
    architecture = gguf.scalar(table.metadata, "general.architecture")
    return Contents(
        role(table.metadata),
        floats,
        architecture if isinstance(architecture, str) else "",
        of_gguf(table.metadata, os.path.basename(path)),
        gguf_talks(table.metadata, os.path.basename(path)),
        embeds(table.metadata),
    )


class Told(NamedTuple):
    """What a file that lies beside a model says of itself: the type of the whole file, and the types of its projectors."""

    type: str | None = None
    projectors: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        return " ".join([*([self.type] if self.type else []), *self.projectors])


def told(path: str) -> Told:
    """Read what a file says of itself; nothing of one that is not there, or cannot be read."""
    try:
        metadata = gguf.read_header(path).table.metadata
    except (Error, OSError):
        return Told()
    kinds = (gguf.scalar(metadata, f"clip.{part}projector_type") for part in ("", "vision.", "audio."))
    known = [shown(kind) for kind in kinds if isinstance(kind, str)]
    return Told(of_number(gguf.scalar(metadata, "general.file_type")), tuple(dict.fromkeys(known)))


def role(metadata: Mapping[str, bytes]) -> Literal["model", "projector", "adapter"]:
    """What a file is for, by its metadata: encoded values, by key."""

    def value(key: str) -> object:
        return gguf.scalar(metadata, key)

    kind = value("general.type")
    if kind == "adapter":
        return "adapter"
    architecture = value("general.architecture")
    seeing = value(f"{architecture}.vision.block_count")
    if kind in ("projector", "mmproj") or architecture == "clip":
        return "projector"
    if not value(f"{architecture}.block_count") and isinstance(seeing, int) and seeing > 0:
        return "projector"
    return "model"


def parts(name: str, names: Collection[str]) -> list[str]:
    """The files of a folder that make one GGUF with `name`, in order: itself, or all parts of a split one.

    Raises Error where a part is missing.
    """
    found = _PART.fullmatch(name)
    if not found:
        return [name]
    prefix, _, count = found.groups()
    wanted = [f"{prefix}-{number + 1:05}-of-{count}.gguf" for number in range(min(int(count), 99_999))]
    here = set(names)
    missing = [part for part in wanted if part not in here]
    if missing:
        raise Error(
            f"the split GGUF file '{name}' lacks parts",
            facts=[("missing", listed(missing))],
            hint="download all of them",
        )
    return wanted or [name]
