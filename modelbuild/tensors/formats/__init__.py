"""Weights files, a file each format: what they say of themselves, and the digest of every tensor."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from modelbuild.tensors.file_digest import Digested, RunningDigest
    from modelbuild.tensors.tensor import TensorTable

WEIGHTS = ("safetensors", "gguf")


class Format(Protocol):
    """What the file of a format of weights says. All raise Error for a file that is not of it."""

    def table(self, path: str, unread: str = "") -> TensorTable:
        """What the file says before its tensors; digests are empty, or where it is `unread` what `marked` says."""

    def survey(self, path: str, executor: Executor | None = None) -> Digested:
        """Read the file whole: its table, the digest of each tensor, and the file's own."""

    def running(self, path: str) -> RunningDigest:
        """The digest that `survey` finds, of a copy of the file while it is made."""


def get(name: str) -> Format:
    """The format of that name, one of WEIGHTS."""
    return cast(Format, import_module(f"modelbuild.tensors.formats.{name}"))
