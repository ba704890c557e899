"""ModelBuild.lock: which manifest, or which commit, each name means that is not of this project."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from modelbuild.checkpoint import hf_repository
from modelbuild.digest import canonical
from modelbuild.errors import Error, Errors
from modelbuild.observed import Observed
from modelbuild.ollama.name import Name
from modelbuild.project.locate import Place
from modelbuild.tuples import NamedTuple
from modelbuild.words import did_you_mean, listed, shown

VERSION = 1
LIMIT = 4 << 20
"""Bytes. A line takes some hundred, so that this is ten thousands of names."""

LONGEST = 4096
"""Characters of the path of a weights file: no system opens a longer one."""

HEAD = "# Written by modelbuild. `modelbuild update` moves what is pinned here.\n\n"

_DIGEST = "sha256:[0-9a-f]{64}"
_MARKER = r"(?m:^(?:<{7}|\|{7}|={7}|>{7})(?: .*)?$)"
_WHERE = r"(?s:(.*) \(at line (\d+), column (\d+)\))"

MODELS, CHECKPOINTS, WEIGHTS = "models", "checkpoints", "weights"

Pins = Mapping[str, str]
"""Name -> manifest digest (`llama3.2:latest` -> `sha256:…`), repository -> commit (`hf.co/org/repo` -> 40 hex digits), or weights file of
the project -> its digests (`./base/model.safetensors` -> `sha256:… xxh3:…`) and of a GGUF file what its head says, as JSON behind them"""

Head = Mapping[str, str | bool]
"""What planning needs of the head of a weights file: of a GGUF file what it is, of a checkpoint's the parts that it gives."""

HEAD_KEYS = {
    "role": str, "architecture": str, "unquantized": bool, "talks": bool, "embeds": bool, "chat": str, "bos": str, "eos": str,
}  # fmt: skip
"""What may be said in it; the first three always are."""
PARTS = "parts"
"""Says all that is said of a checkpoint's file: kinds of parts, if any, with spaces between them."""
ROLES = ("model", "projector", "adapter")

_HERE = "./"
"""Begins the path of a weights file among the pins: no name begins so. In the file it is left out."""


class Outside(NamedTuple):
    """A name that is not of this project, and what it means: a manifest's digest, or a commit; None while nobody knows."""

    name: str
    pin: str | None


class Change(NamedTuple):
    """A pin that is another one than before; None where there was none, or is none any more."""

    name: str
    before: str | None
    after: str | None


def path(file: str) -> str | None:
    """Where the lock of a project lies, beside its TOML; None for a project that is a Modelfile or weights alone."""
    stem, suffix = os.path.splitext(file)
    return f"{stem}.lock" if suffix == ".toml" else None


def observe(file: str, observed: Observed) -> Pins:
    """The pins of the project of a file, as a look of the planner's. Raises Error and Errors."""
    where = path(file)
    if where is None:
        return {}
    shown_as = os.path.basename(where)
    try:
        data = observed.read(where)
    except FileNotFoundError:
        return {}
    except OSError as error:
        from modelbuild.files import reason, remedy

        raise Error(f"cannot be read: {reason(error)}", path=shown_as, hint=remedy(error) or _REMADE) from None
    return parse(data, shown_as)


def parse(data: bytes, file: str) -> Pins:
    """Read a lock that anybody may have edited. Raises Error, or Errors for several entries that are wrong."""
    import tomllib

    if len(data) > LIMIT:
        raise Error(f"is {len(data):,} bytes long, expected at most {LIMIT:,}", path=file, hint=_REMADE)
    try:
        text = data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as fault:
        line = data.count(b"\n", 0, fault.start) + 1
        raise Error("the text is not UTF-8", path=file, line=line, hint=_REMADE) from None
    if marker := re.search(_MARKER, text):
        line = text.count("\n", 0, marker.start()) + 1
        raise Error(
            "contains the markers of a merge conflict",
            path=file,
            line=line,
            column=1,
            source=marker[0],
            width=len(marker[0]),
            hint="keep one of the two lines for each name and remove the markers; `modelbuild update` moves it on if it is old",
        )
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as fault:
        found = re.fullmatch(_WHERE, str(fault))
        what = found[1] if found else str(fault).removesuffix(" (at end of document)")
        line = int(found[2]) if found else len(text.splitlines())
        what = f"not TOML: {what[:1].lower()}{what[1:]}"
        raise Error(what, path=file, line=line, hint=_REMADE) from None
    except RecursionError:
        raise Error("not TOML: nested too deeply", path=file, hint=_REMADE) from None
    except ValueError:
        raise Error("not TOML: a number has thousands of digits", path=file, hint=_REMADE) from None
    return _checked(document, Place(file, text))


_REMADE = "restore the file, or delete it: the next build writes it again, with what it finds then"


def _checked(document: Mapping[str, Any], top: Place) -> Pins:
    if not document:
        raise Error("is empty", path=top.file, hint=_REMADE)
    version = document.get("version")
    if version != VERSION or isinstance(version, bool):
        if isinstance(version, int) and version > VERSION:
            hint = "update modelbuild"
            raise top.at("version").error(
                f"is of a newer version of modelbuild: {_spelled(version)}, known is {VERSION}", hint=hint
            )
        raise top.at("version").error(f"expected version = {VERSION}, got {_spelled(version)}", hint=_REMADE)
    pins: dict[str, str] = {}
    errors: list[Error] = []
    known = ("version", MODELS, CHECKPOINTS, WEIGHTS)
    for key, table in document.items():
        here = top.at(key)
        if key not in known:
            errors.append(here.error(f"unknown key '{shown(key)}'", hint=did_you_mean(key, known), value=False))
        elif key != "version" and not isinstance(table, dict):
            errors.append(here.error(f"'{key}' is not a table", hint=_REMADE))
        elif key != "version":
            check = {MODELS: _model, CHECKPOINTS: _checkpoint, WEIGHTS: _weights}[key]
            for name, pin in table.items():
                wrong = check(name, pin)
                if wrong is None:
                    pins[_HERE + name if key == WEIGHTS else name] = _pin(pin)
                else:
                    errors.append(here.at(name).placed(wrong))
    if errors:
        raise Errors(errors)
    return pins


def _spelled(value: object) -> str:
    """A value of TOML as an error shows it."""
    try:
        return shown(str(value))
    except ValueError:
        return "a number of thousands of digits"


def _model(name: str, pin: object) -> Error | None:
    try:
        whole = Name.parse(name).display()
    except Error as error:
        return Error(error.what)
    if whole != name:
        return Error(f"expected the name '{whole}', got '{name}'")
    if not isinstance(pin, str) or not re.fullmatch(_DIGEST, pin):
        return Error(
            f"expected a digest for '{name}', got '{_spelled(pin)}'", hint="'sha256:' and 64 digits of 0-9 and a-f"
        )
    return None


def _checkpoint(name: str, pin: object) -> Error | None:
    if not hf_repository.is_key(name):
        return Error(f"expected 'hf.co/ORG/REPOSITORY', got '{shown(name)}'")
    if not isinstance(pin, str) or not hf_repository.is_commit(pin):
        return Error(f"expected a commit for '{name}', got '{_spelled(pin)}'", hint="40 digits of 0-9 and a-f")
    return None


def _weights(name: str, pin: object) -> Error | None:
    if os.path.isabs(name) or os.path.normpath(name) != name or name.startswith("..") or not _is_plain(name):
        return Error(f"expected the path of a weights file below the project's folder, got '{shown(name)}'")
    digests, head = (pin.get("digests"), pin) if isinstance(pin, dict) else (pin, None)
    if not isinstance(digests, str) or not re.fullmatch(f"{_DIGEST} xxh3:[0-9a-f]{{32}}", digests):
        return Error(f"expected two digests for '{shown(name)}', got '{_spelled(digests)}'", hint=_REMADE)
    return _head(name, head) if head is not None else None


def _is_plain(name: str) -> bool:
    """Whether a name can be one of a file, and the lock, which is UTF-8, can say it."""
    return (
        name not in ("", ".") and "\0" not in name and not re.search("[\ud800-\udfff]", name) and len(name) <= LONGEST
    )


def _head(name: str, head: Mapping[str, object]) -> Error | None:
    said = {key: value for key, value in head.items() if key != "digests"}
    if [*said] == [PARTS]:
        return (
            None if isinstance(said[PARTS], str) else Error(f"'{PARTS}' of '{shown(name)}' is not a text", hint=_REMADE)
        )
    for key in [*said, *[*HEAD_KEYS][:3]]:
        if key not in HEAD_KEYS:
            return Error(f"unknown key '{shown(key)}' of '{shown(name)}'", hint=did_you_mean(key, HEAD_KEYS) or _REMADE)
        if key not in said or not isinstance(said[key], HEAD_KEYS[key]):
            return Error(f"'{key}' of '{shown(name)}' is missing, or not {_KINDS[HEAD_KEYS[key]]}", hint=_REMADE)
    if said["role"] not in ROLES:
        return Error(f"'role' of '{shown(name)}' is none of {listed(ROLES)}", hint=_REMADE)
    return None


_KINDS = {str: "a text", bool: "true or false"}


def _pin(pin: str | Mapping[str, Any]) -> str:
    """What the lock says of one name, as text."""
    if isinstance(pin, str):
        return pin
    return with_head(pin["digests"], {key: value for key, value in pin.items() if key != "digests"})


def with_head(digests: str, head: Head) -> str:
    """The pin of a weights file with what its head says."""
    return f"{digests} {canonical(head).decode()}"


def _table(pin: str) -> str | dict[str, Any]:
    """A pin of weights as TOML has it."""
    digests, head = _taken_apart(pin)
    return (
        digests
        if head is None
        else {"digests": digests, **{key: head[key] for key in (*HEAD_KEYS, PARTS) if key in head}}
    )


def _taken_apart(pin: str) -> tuple[str, Head | None]:
    sha256, xxh3, *head = pin.split(" ", 2)
    return f"{sha256} {xxh3}", json.loads(head[0]) if head else None


class Pinned(NamedTuple):
    """The digests of a weights file: of all its bytes, and as the engine takes it; and what its head says."""

    sha256: str
    xxh3: str
    head: Head | None = None

    @property
    def known(self) -> str:
        """What stands for the digest of the file where it is not here, so that nobody can check it.

        It is not the digest that a file has which is here: what a lock says falsely is found for no weights but its own.
        """
        return f"{self.sha256} {self.xxh3}"


def weights(pins: Pins, root: str) -> dict[str, Pinned]:
    """The weights files that are pinned, by their paths; `root` is the project's folder."""
    found = {}
    for name, pin in pins.items():
        if is_weights(name):
            digests, head = _taken_apart(pin)
            sha256, _, xxh3 = digests.partition(" ")
            found[os.path.join(root, name[len(_HERE) :])] = Pinned(sha256, xxh3, head)
    return found


def weights_name(path: str, root: str) -> str | None:
    """What a weights file is called among the pins; None for one that lies elsewhere than below the project's folder."""
    name = os.path.relpath(path, root)
    return None if name.startswith("..") or _weights(name, f"sha256:{'0' * 64} xxh3:{'0' * 32}") else _HERE + name


def shown_name(name: str) -> str:
    """A pinned name as the lock has it."""
    return name.removeprefix(_HERE)


def is_weights(name: str) -> bool:
    """Whether what is pinned is a weights file of the project, rather than something of elsewhere."""
    return name.startswith(_HERE)


def is_checkpoint(name: str) -> bool:
    """Whether a pinned name is a repository's rather than a model's, which has a tag."""
    return hf_repository.is_key(name)


def encode(pins: Pins) -> bytes:
    """The text of a lock: names in order, and mostly one line for each, so that two edits seldom meet."""
    import tomli_w

    tables = {
        MODELS: {name: pins[name] for name in sorted(pins) if not (is_checkpoint(name) or is_weights(name))},
        CHECKPOINTS: {name: pins[name] for name in sorted(pins) if is_checkpoint(name)},
        WEIGHTS: {name[len(_HERE) :]: _table(pins[name]) for name in sorted(pins) if is_weights(name)},
    }
    document = {"version": VERSION, **{key: table for key, table in tables.items() if table}}
    return (HEAD + tomli_w.dumps(document)).encode()


def changes(before: Pins, after: Pins) -> list[Change]:
    """What is another pin, by name."""
    names = sorted({*before, *after})
    found = [Change(name, before.get(name), after.get(name)) for name in names]
    return [change for change in found if change.before != change.after]


def told(found: Iterable[Change]) -> Iterator[tuple[str, str]]:
    """Changes as facts of an error or lines: (name, old -> new)."""
    for name, before, after in found:
        yield name, f"{before or 'not pinned'} -> {after or 'not pinned'}" if before or after else "is not pinned"
