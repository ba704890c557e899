"""A checkpoint folder as a step sees it: its small files by name, each parsed once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any

from modelbuild import bounded_json
from modelbuild.bounded_json import decoded
from modelbuild.errors import Error
from modelbuild.words import in_json

SIZE_LIMIT = 16 << 20
"""Bytes of a small file. The largest real ones, tokenizer_config.json with all tokens of a speech model, have some 12 million."""
SIZE_LIMITS = {
    "tokenizer.json": 128 << 20,
    "tokenizer.model": 64 << 20,
    "tekken.json": 128 << 20,
    "README.md": 32 << 20,
}
"""Bytes of the files that may be larger; the largest real ones have 35, 5, 20 and 3 million."""


class Checkpoint:
    """The small files of a folder of weights.

    read    gives the bytes of a file by its name in the folder, None where there is none
    names   the files there may be
    folder  the folder's own name, from which a model without a better one takes its name
    pre     the name of its pre-tokenizer, where it is not to be found out
    mtp     what becomes of its blocks for the prediction of several tokens: `keep`, `drop`, or `only` these
    tensors gives the names of its tensors, as a model of text has them
    values  gives the values of a small tensor, by such a name
    """

    def __init__(
        self,
        read: Callable[[str], bytes | None],
        names: Sequence[str] = (),
        folder: str = "",
        *,
        pre: str | None = None,
        mtp: str = "keep",
        tensors: Callable[[], Iterable[str]] = tuple,
        values: Callable[[str], Sequence[float]] = lambda name: (),
    ) -> None:
        self._read = read
        self.names = tuple(names)
        self.folder = folder
        self.pre = pre
        self.mtp = mtp
        self._tensors = tensors
        self.values = values
        self._parsed: dict[str, dict[str, Any] | None] = {}

    def read(self, name: str) -> bytes | None:
        """The bytes of a file, None where there is none. Raises Error for one that is larger than any real one."""
        data = self._read(name)
        limit = SIZE_LIMITS.get(name, SIZE_LIMIT)
        if data is not None and len(data) > limit:
            raise Error(
                f"is {len(data):,} bytes long, expected at most {limit:,}",
                path=name,
                hint="no file of this name is so large in a real model: it is damaged, or another file; download it again",
            )
        return data

    def text(self, name: str) -> str | None:
        """A text file, with line ends as Python reads them. Raises Error where it is not UTF-8."""
        data = self.read(name)
        return None if data is None else decoded(data, name).replace("\r\n", "\n").replace("\r", "\n")

    def json(self, name: str) -> dict[str, Any] | None:
        """A JSON file that holds an object. Raises Error for anything else."""
        if name not in self._parsed:
            text = self._json_text(name)
            self._parsed[name] = None if text is None else parse_json(text, name)
        return self._parsed[name]

    def _json_text(self, name: str) -> str | None:
        # By itself, so that the bytes are gone when the text becomes values.
        data = self.read(name)
        return None if data is None else bounded_json.text(data, name)

    @cached_property
    def tensors(self) -> tuple[str, ...]:
        """The names of its tensors, as a model of text has them. Raises Error where they cannot be read."""
        return tuple(self._tensors())

    @cached_property
    def config(self) -> dict[str, Any]:
        """config.json as it stands."""
        config = self.json("config.json")
        if config is None:
            hint = "download the whole folder of the model, or name a GGUF file"
            raise Error("is missing: a folder of weights needs its config.json", path="config.json", hint=hint)
        return config

    @cached_property
    def tokenizer_config(self) -> dict[str, Any]:
        return self.json("tokenizer_config.json") or {}


def parse_json(text: str, path: str) -> dict[str, Any]:
    """Parse an object. Raises Error with the line."""
    value = bounded_json.parse(text, path)
    if not isinstance(value, dict):
        raise Error(f"expected a JSON object, got {in_json(value)}", path=path)
    return value
