"""What adapters are, told from folders and the heads of files: a GGUF file to take, or files to make one of."""

from __future__ import annotations

import os
from dataclasses import dataclass

from modelbuild.checkpoint.adapters import files as adapter_files
from modelbuild.engine.graph import Source
from modelbuild.errors import Error
from modelbuild.files import reason
from modelbuild.observed import Observed
from modelbuild.plan.placed import in_named
from modelbuild.plan.weights import WeightsReader
from modelbuild.project.variant import Adapter


@dataclass(frozen=True)
class AdapterFiles:
    """The files of an adapter by the roles that a step knows them by, its folder's name, and whether it is a GGUF file."""

    folder: str
    files: tuple[tuple[str, Source], ...]
    is_gguf: bool


class AdaptersReader:
    """Looks into the folders and heads of adapters, and says what is wrong with them at the words that named them."""

    def __init__(self, observed: Observed, weights: WeightsReader) -> None:
        self._observed = observed
        self._weights = weights

    def read(self, adapter: Adapter) -> AdapterFiles:
        """What the path of an adapter means. Raises Error."""
        path = adapter.path
        kind = self._observed.kind(path)
        if kind is None:
            raise adapter.place.error(f"no such file or folder: '{adapter.text}'", facts=[("looked at", path)])
        if kind == "folder":
            path = self._in_folder(adapter, self._weights.snapshot(adapter, path))
        if self._is_gguf(adapter, path):
            self._weights.beside("adapter", adapter, path)
            return AdapterFiles("", ((adapter_files.GGUF, Source(path, "gguf")),), True)
        folder, name = os.path.split(path)
        if not name.endswith(".safetensors"):
            raise self._other(adapter, folder, name)
        small = (
            (each, Source(os.path.join(folder, each), "bytes")) for each in (adapter_files.CONFIG, adapter_files.CARD)
        )
        return AdapterFiles(os.path.basename(folder), ((name, Source(path, "safetensors")), *small), False)

    def _in_folder(self, adapter: Adapter, folder: str) -> str:
        entries = self._weights.entries(adapter, folder)
        names, folders = ([name for name, kind, _ in entries if kind == wanted] for wanted in ("file", "folder"))
        try:
            return os.path.join(folder, adapter_files.weights(names, folders, adapter.text.rstrip("/") or "/"))
        except Error as error:
            raise in_named(error, adapter, folder, folder=True) from error

    def _is_gguf(self, adapter: Adapter, path: str) -> bool:
        try:
            self._observed.stat(path)
            with open(path, "rb") as file:
                return file.read(4) == b"GGUF" or path.endswith(".gguf")
        except OSError as error:
            raise adapter.place.error(
                f"'{adapter.text}' cannot be read: {reason(error)}", facts=[("file", path)]
            ) from error

    @staticmethod
    def _other(adapter: Adapter, folder: str, name: str) -> Error:
        """What a file is that is neither GGUF nor safetensors."""
        if name == adapter_files.CONFIG:
            return adapter.place.error(
                f"'{adapter.text}' is the adapter's configuration",
                hint=f"name its folder: {os.path.dirname(adapter.text) or '.'}",
            )
        pickled = name.endswith((".bin", ".pt", ".pth"))
        return adapter.place.error(
            f"the adapter '{adapter.text}' is a pickle, expected safetensors or a GGUF file"
            if pickled
            else f"'{adapter.text}' is not an adapter: expected a folder, a safetensors file or a GGUF file",
            facts=[("file", os.path.join(folder, name))],
            hint="pickles can run code and are not read; where torch and safetensors are installed, this writes it anew:\n"
            + adapter_files.unpickling(folder, name)
            if pickled
            else None,
        )
