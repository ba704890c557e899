"""What an interpreter says of itself: versions of Python, of its platform, and of the packages that a converter may import.

It is asked once. What it says follows from what is looked at here: the program, the folders that it imports from and their listings
(the folders of installed packages are named by their versions), the files that add folders to these, and what each package says of
itself. While none of that is another than when it was asked, its answer is the same, and it is not started.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping

from modelbuild.digest import checked, file_name, unchecked, xxh3
from modelbuild.files import make_folder, read_plain, reason
from modelbuild.observed import Look, Observed
from modelbuild.project.variant import File
from modelbuild.tuples import NamedTuple

FOLDER = "interpreters"
"""Of the cache."""
VERSION = 1
_SECONDS = 60.0
_LIMIT = 1 << 20

PACKAGES = ("torch", "transformers", "tokenizers", "sentencepiece", "numpy", "safetensors", "mistral_common", "gguf")

_QUESTION = """
import importlib.metadata, json, os, platform, sys, sysconfig
found, files = {"python": platform.python_version(), "platform": sysconfig.get_platform()}, []
for name in sys.argv[1:]:
    try:
        package = importlib.metadata.distribution(name)
        found[name] = package.version
        path = str(package._path)
        files.append(os.path.join(path, "METADATA") if os.path.isdir(path) else path)
    except importlib.metadata.PackageNotFoundError:
        found[name] = "none"
json.dump([found, [each or "." for each in sys.path], files], sys.stdout)
"""


class _Asked(NamedTuple):
    """What it said, and what that follows from: (verb, path, what was seen)."""

    answer: dict[str, str]
    looks: list[Look]


class Interpreters:
    """Asks interpreters. `cache` is the folder where is kept what they said; None for nowhere."""

    def __init__(self, observed: Observed, cache: str | None) -> None:
        self._observed = observed
        self._cache = cache
        self._known: dict[str, Mapping[str, str]] = {}

    def answer(self, named: File) -> Mapping[str, str]:
        """Versions by name, "none" for a package that is not there. Raises Error where it cannot be asked."""
        if named.path not in self._known:
            kept = self._kept(named.path)
            if kept is None or not self._same(kept.looks):
                kept = self._ask(named)
                self._keep(named.path, kept)
            self._known[named.path] = kept.answer
        return self._known[named.path]

    def _same(self, looks: list[Look]) -> bool:
        """Look again at all that an answer follows from. The looks are the plan's as well."""
        return all(self._look(verb, path) == seen for verb, path, seen in looks)

    def _look(self, verb: str, path: str) -> str:
        try:
            match verb:
                case "stat":
                    return self._observed.stat(path)
                case "read":
                    return xxh3(self._observed.read(path))
                case "entries":
                    return xxh3("\0".join(name for name, _, _ in self._observed.entries(path)).encode(*_UTF8))
        except OSError as error:
            return f"!{error.errno}"
        raise AssertionError(verb)

    def _ask(self, named: File) -> _Asked:
        environment = {"PYTHONNOUSERSITE": "1", "PYTHONDONTWRITEBYTECODE": "1", "LC_ALL": "C.UTF-8", "PATH": os.devnull}
        # Looked at before: what changes meanwhile is seen the next time.
        before = [("stat", path) for path in dict.fromkeys([named.path, os.path.realpath(named.path)])]
        before += [("read", os.path.join(os.path.dirname(named.path), *up, "pyvenv.cfg")) for up in ((), ("..",))]
        looks: list[Look] = [(verb, path, self._look(verb, path)) for verb, path in before]
        try:
            done = subprocess.run(
                [named.path, "-s", "-c", _QUESTION, *PACKAGES],
                cwd=os.path.dirname(named.path),
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            why = reason(error) if isinstance(error, OSError) else f"no answer within {_SECONDS:.0f} seconds"
            raise named.place.error(f"'{named.text}' cannot be started: {why}", hint=_HINT) from error
        try:
            answer, folders, files = json.loads(done.stdout)
            found = {str(name): str(version) for name, version in answer.items()}
            paths = [str(path) for path in folders if isinstance(path, str)]
            described = [str(path) for path in files]
        except (ValueError, TypeError, AttributeError):
            last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
            facts = [("it said", last[0][:300])] if last else []
            raise named.place.error(f"'{named.text}' is not a Python interpreter", facts=facts, hint=_HINT) from None
        # Of the folder that it was started in, nothing is imported when it runs a script.
        after = [("entries", path) for path in paths if os.path.isabs(path)]
        after += [("stat", path) for folder in paths if os.path.isabs(folder) for path in _pointers(folder)]
        after += [("stat", path) for path in described]
        looks += [(verb, path, self._look(verb, path)) for verb, path in dict.fromkeys(after)]
        return _Asked(found, looks)

    # What is kept

    def _path(self, path: str) -> str | None:
        name = file_name(xxh3(path.encode(*_UTF8)))
        return os.path.join(self._cache, FOLDER, name) if self._cache else None

    def _kept(self, path: str) -> _Asked | None:
        where = self._path(path)
        if where is None:
            return None
        try:
            data = unchecked(read_plain(where, _LIMIT)[0])
            version, named, answer, looks = json.loads(data or b"")
            if version != VERSION or named != [path, *PACKAGES]:
                return None
            return _Asked(answer, [(verb, subject, seen) for verb, subject, seen in looks])
        except (OSError, ValueError, TypeError):
            return None

    def _keep(self, path: str, asked: _Asked) -> None:
        where = self._path(path)
        if where is None:
            return
        value = checked(json.dumps([VERSION, [path, *PACKAGES], asked.answer, asked.looks]).encode())
        new = f"{where}.{os.urandom(4).hex()}"
        try:
            make_folder(os.path.dirname(where))
            with open(new, "xb") as file:
                file.write(value)
            os.replace(new, where)
        except OSError:
            # It is asked again.
            return


_UTF8 = ("utf-8", "surrogatepass")
_HINT = 'name the Python that has torch and transformers: [tools] python = "FOLDER/bin/python"'


def _pointers(folder: str) -> list[str]:
    """The files in a folder of packages that lead to other folders."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    return [os.path.join(folder, name) for name in names if name.endswith((".pth", ".egg-link"))]
