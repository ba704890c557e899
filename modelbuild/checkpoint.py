"""A checkpoint folder as a step sees it: its small files by name, each parsed once."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from modelbuild.errors import Error


class Checkpoint:
    """The small files of a folder of weights.

    read    the bytes of a file by its name in the folder, None where there is none
    names   the files there may be
    folder  the folder's own name, from which a model without a better one takes its name
    pre     the name of its pre-tokenizer, where it is not to be found out
    """

    def __init__(
        self,
        read: Callable[[str], bytes | None],
        names: Sequence[str] = (),
        folder: str = "",
        *,
        pre: str | None = None,
    ) -> None:
        self.read = read
        self.names = tuple(names)
        self.folder = folder
        self.pre = pre
        self._parsed: dict[str, dict[str, Any] | None] = {}

    def text(self, name: str) -> str | None:
        """A text file, with line ends as Python reads them. Raises Error where it is not UTF-8."""
        data = self.read(name)
        return None if data is None else decoded(data, name).replace("\r\n", "\n").replace("\r", "\n")

    def json(self, name: str) -> dict[str, Any] | None:
        """A JSON file that holds an object. Raises Error for anything else."""
        if name not in self._parsed:
            data = self.read(name)
            self._parsed[name] = None if data is None else parse_json(decoded(data, name), name)
        return self._parsed[name]

    @cached_property
    def config(self) -> dict[str, Any]:
        """config.json as it stands."""
        config = self.json("config.json")
        if config is None:
            raise Error("is missing: a folder of weights needs its config.json", path="config.json")
        return config

    @cached_property
    def tokenizer_config(self) -> dict[str, Any]:
        return self.json("tokenizer_config.json") or {}


def decoded(data: bytes, path: str) -> str:
    """UTF-8 as text. Raises Error for anything else."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Error(f"expected UTF-8, got byte 0x{data[error.start]:02x} at {error.start}", path=path) from None


def parse_json(text: str, path: str) -> dict[str, Any]:
    """Parse an object. Raises Error with the line."""
    # A large file becomes a million objects, none of them garbage: to look for some takes a third of the time.
    collecting = gc.isenabled() and len(text) > 1 << 20
    try:
        if collecting:
            gc.disable()
        value = json.loads(text)
    except json.JSONDecodeError as error:
        lines = text.split("\n")
        raise Error(
            f"expected JSON: {error.msg[:1].lower()}{error.msg[1:]}",
            path=path,
            line=error.lineno,
            column=error.colno,
            source=lines[error.lineno - 1][:200],
        ) from None
    except (RecursionError, ValueError):
        raise Error(
            "expected JSON that can be read: it is nested too deeply, or a number in it is too long", path=path
        ) from None
    finally:
        if collecting:
            gc.enable()
    if not isinstance(value, dict):
        raise Error(f"expected a JSON object, got {kind(value)}", path=path)
    return value


def kind(value: Any) -> str:
    """What a value is, in JSON's words."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    names = {int: "the number", float: "the number", str: "the text"}
    if type(value) in names:
        shown = json.dumps(value, ensure_ascii=False)
        return f"{names[type(value)]} {shown if len(shown) <= 60 else shown[:59] + '…'}"
    return "a list" if isinstance(value, list) else "an object"


def whole(config: dict[str, Any], key: str, path: str = "config.json") -> int:
    """A count out of a config. Raises Error where it is missing or no positive whole number."""
    value = config.get(key)
    if type(value) is not int or not 0 < value < 1 << 32:
        got = f"got {kind(value)}" if key in config else "which is missing"
        raise Error(f"'{key}' expects a whole number of 1 or more, {got}", path=path)
    return value
