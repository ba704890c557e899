"""The Ed25519 key by which Ollama's registry knows a user: where it lies, what its public half is, and what it signs."""

from __future__ import annotations

import base64
import hashlib
import os
from typing import TYPE_CHECKING

from modelbuild.errors import Error
from modelbuild.files import make_folder, read_plain, reason

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

NAME = "id_ed25519"

SERVICE = "/usr/share/ollama/.ollama"
"""The folder of Ollama's Linux service, whose home that is."""

SETTINGS = "https://ollama.com/settings/keys"
"""Where a user adds a public key."""

_LIMIT = 1 << 16
_EMPTY_BODY = base64.b64encode(hashlib.sha256(b"").hexdigest().encode()).decode()
"""Base64 of the *hex* digest of a body without bytes, as Ollama has it."""


class OllamaKey:
    """A private key; nothing shows it. `path` is where it lies."""

    def __init__(self, path: str, key: Ed25519PrivateKey) -> None:
        self.path = path
        self._key = key

    def __repr__(self) -> str:
        return f"OllamaKey({self.path!r})"

    @property
    def public(self) -> str:
        """The public half in one line, as the file beside it has it and as it is added at Ollama: `ssh-ed25519 AAAA…`."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        return self._key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()

    def authorization(self, url: str) -> str:
        """The header Authorization for a GET of `url`, byte for byte (auth/auth.go, Sign; server/auth.go, getAuthorizationToken)."""
        signature = self._key.sign(f"GET,{url},{_EMPTY_BODY}".encode())
        return f"{self.public.split()[1]}:{base64.b64encode(signature).decode()}"


def folders() -> list[str]:
    """Where a key is looked for, in order: the user's own, and that of the service."""
    return [os.path.join(os.path.expanduser("~"), ".ollama"), SERVICE]


def find() -> OllamaKey | None:
    """The user's key, else the service's if it can be read; None without any. Raises Error for one that cannot be used."""
    for folder in folders():
        path = os.path.join(folder, NAME)
        try:
            data, _ = read_plain(path, _LIMIT)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            if folder == SERVICE:
                # It belongs to the service's user: that is no fault of anybody's.
                continue
            raise Error(f"cannot be read: {reason(error)}", path=path, hint="make it readable for your user") from None
        return OllamaKey(path, _loaded(data, path))
    return None


def _loaded(data: bytes, path: str) -> Ed25519PrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_ssh_private_key

    hint = "move it away; `modelbuild whoami --new-key` makes a new one"
    try:
        key = load_ssh_private_key(data, password=None)
    except TypeError:
        raise Error("is protected with a passphrase, which Ollama cannot use", path=path, hint=hint) from None
    except (ValueError, UnsupportedAlgorithm):
        raise Error("is not a private key in OpenSSH's format", path=path, hint=hint) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise Error("is not an Ed25519 key", path=path, hint=hint)
    return key


def unreadable() -> str | None:
    """The key of the service, if it is there and this user may not read it; found by its public half, which anybody may read."""
    path = os.path.join(SERVICE, NAME)
    is_there = os.path.lexists(path) or os.path.lexists(path + ".pub")
    return path if is_there and not os.access(path, os.R_OK) else None


def create() -> OllamaKey:
    """Make the user's key and its public half, as Ollama's server does on its first start. Raises Error, also if one is there."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    folder = folders()[0]
    path = os.path.join(folder, NAME)
    made = OllamaKey(path, key := Ed25519PrivateKey.generate())
    text = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    temporary = f"{path}.{os.getpid()}"
    try:
        make_folder(folder)
        # Whole under another name first: a server that starts now must not read half a key; `link` replaces nothing.
        _write(temporary, text, 0o600)
        try:
            os.link(temporary, path)
        finally:
            os.unlink(temporary)
        _write(temporary, made.public.encode() + b"\n", 0o644)
        os.replace(temporary, f"{path}.pub")
    except OSError as error:
        if os.path.lexists(path):
            hint = "`modelbuild whoami` shows it; to replace it, move it away first"
            raise Error("exists already", path=path, hint=hint) from None
        raise Error(f"cannot be written: {reason(error)}", path=path, hint="make the folder writable") from None
    return made


def _write(path: str, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with open(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(data)
        os.fsync(descriptor)
