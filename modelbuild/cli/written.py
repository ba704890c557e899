"""Files that a command writes where the user says: a page, a trace."""

from __future__ import annotations

import contextlib
import os

from modelbuild.errors import Error
from modelbuild.files import reason


def checked(path: str, option: str, example: str) -> str:
    """Where a file is to be written. Raises Error, before anything is computed, where it cannot be."""
    from modelbuild import misspelled

    file = os.path.realpath(path)
    folder = os.path.dirname(file)
    if not os.path.isdir(folder):
        raise Error("no such folder", path=folder, hint=misspelled.hint(folder, os.getcwd(), misspelled.FOLDER))
    if os.path.exists(file) and not os.path.isfile(file):
        raise Error("expected a file to write", path=path, hint=f"name a file with {option}, such as {example}")
    return file


def write(file: str, text: str, option: str) -> None:
    """Write a file, whole or not at all."""
    temporary = f"{file}.{os.getpid()}.tmp"
    try:
        with open(temporary, "w", encoding="utf-8", errors="backslashreplace") as made:
            made.write(text)
        os.replace(temporary, file)
    except OSError as error:
        raise Error(
            f"cannot be written: {reason(error)}", path=file, hint=f"name another file with {option}"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
