"""The options of every command, and their defaults from the machine."""

from __future__ import annotations

import os

from modelbuild import machine
from modelbuild.errors import Error
from modelbuild.tuples import NamedTuple

CACHE_LIMIT = 64 << 30
"""Bytes of the store's own artifacts that are kept, unless $MODELBUILD_CACHE_LIMIT says otherwise."""


class Settings(NamedTuple):
    """The options that every command takes; None and empty for what the command line leaves open.

    wanted  what an export wants of models besides, as `shapes.wants` says
    remote_cache  what is done with the remote cache, one of MODES; None: what the project says
    locked   refuse to change the lock
    offline  use no network
    """

    folder: str = "."
    file: str | None = None
    models: str | None = None
    cache: str | None = None
    memory: int | None = None
    name: str | None = None
    quantize: str | None = None
    vars: tuple[tuple[str, str], ...] = ()
    sets: tuple[str, ...] = ()
    wanted: str | None = None
    remote_cache: str | None = None
    locked: bool = False
    offline: bool = False


def options(settings: Settings) -> list[str]:
    """The options by which another command finds the same project, cache and models folder."""
    named = (
        ("-C", settings.folder if settings.folder != "." else None), ("-f", settings.file), ("-t", settings.name),
        ("--models", settings.models), ("--cache", settings.cache),
    )  # fmt: skip
    return [word for option, value in named if value for word in (option, value)]


def folder_of(settings: Settings) -> str:
    """The folder that a command works in, without links. Raises Error where there is none."""
    folder = os.path.realpath(settings.folder)
    if os.path.isdir(folder):
        return _text(folder)
    from modelbuild import misspelled

    if os.path.isfile(folder):
        raise Error("is a file, expected a folder", path=settings.folder, hint="-f FILE names a file, -C DIR a folder")
    hint = misspelled.hint(settings.folder, os.getcwd(), misspelled.FOLDER)
    raise Error("no such folder", path=settings.folder, hint=hint)


def cache_folder(settings: Settings) -> str:
    """Where the store lies: the option, $MODELBUILD_CACHE, the user's cache folder."""
    named = settings.cache or os.environ.get("MODELBUILD_CACHE")
    if not named:
        home = os.environ.get("XDG_CACHE_HOME") or os.path.join("~", ".cache")
        named = os.path.join(home, "modelbuild")
    return started_in(settings.folder, named)


def started_in(folder: str, path: str) -> str:
    """A path of the command line or the environment, absolute; `-C FOLDER` is where it starts."""
    return _text(os.path.abspath(os.path.join(os.path.realpath(folder), os.path.expanduser(path))))


def _text(path: str) -> str:
    """A path that keys, the database and JSON can have. Raises Error for one that is not UTF-8."""
    try:
        path.encode()
    except UnicodeEncodeError:
        shown = os.fsencode(path).decode("utf-8", "backslashreplace")
        raise Error(f"path '{shown}' is not UTF-8", hint="rename the folder, or set a UTF-8 locale") from None
    return path


def cache_limit() -> int:
    """Bytes of artifacts that the store keeps."""
    named = os.environ.get("MODELBUILD_CACHE_LIMIT")
    if named and not named.isdecimal():
        hint = f"write it without a unit: {CACHE_LIMIT} are 64 GiB"
        raise Error(f"$MODELBUILD_CACHE_LIMIT expects a number of bytes, got '{named}'", hint=hint)
    return int(named) if named else CACHE_LIMIT


def memory_limit(settings: Settings) -> int:
    """Bytes for tensors under way: the option, else the lesser of 512 MiB and a quarter of the machine's or the container's memory."""
    if settings.memory:
        return settings.memory
    total = machine.memory()
    return 512 << 20 if total is None else min(512 << 20, total // 4)
