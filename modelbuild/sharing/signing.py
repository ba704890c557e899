"""Signed records: who writes to a remote holds an Ed25519 key, and who reads from it names the keys that are believed.

A signature is over all that a record says, the key of its action with it, so that a record cannot be moved to another action. The bytes
that it names are covered by their digests. Keys are those of OpenSSH (`ssh-keygen -t ed25519`) or PEM (RFC 8410).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from modelbuild.digest import canonical
from modelbuild.errors import Error
from modelbuild.files import read_plain, reason
from modelbuild.words import shown

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

MEMBER = "signature"
"""Of a record: the base64 of the signature's 64 bytes."""

_LIMIT = 64 << 10
"""Bytes of a file with a key."""

_CONTEXT = b"modelbuild record\n"
"""Stands before what is signed: a signature of these keys for another purpose is none for a record."""


class Untrusted(Exception):
    """None of the keys that are believed signed this. Somebody else may have: it is no fault of the store."""


class Signer:
    """Signs records with the key of a file. Raises Error for a file that has none, which shows nothing of it."""

    def __init__(self, path: str) -> None:
        self._key = _private(path)

    @property
    def public(self) -> str:
        """The public key, as a line of `trust`."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        return self._key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()

    def signed(self, value: dict[str, Any]) -> dict[str, Any]:
        """What a record says, with the signature."""
        signature = self._key.sign(_message(value))
        return {**value, MEMBER: base64.b64encode(signature).decode()}


class Trust:
    """Believes records that are signed with one of these public keys, `ssh-ed25519 AAAA…`. Raises Error for what is none."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = [public(key) for key in keys]

    def has(self, signer: Signer) -> bool:
        """Whether what this signs is believed."""
        return public(signer.public) in self._keys

    def check(self, value: dict[str, Any]) -> None:
        """Raise Untrusted for what none of the keys signed."""
        if not self.believes(value):
            raise Untrusted

    def believes(self, value: dict[str, Any]) -> bool:
        from cryptography.exceptions import InvalidSignature

        text = value.get(MEMBER)
        try:
            signature = base64.b64decode(text, validate=True) if isinstance(text, str) else b""
            # What JSON can say and no record does has no spelling: half a character, a number that is none, a nest too deep.
            message = _message({name: each for name, each in value.items() if name != MEMBER})
        except (binascii.Error, ValueError, RecursionError):
            return False
        for key in self._keys:
            try:
                key.verify(signature, message)
            except InvalidSignature:
                continue
            return True
        return False


def public(text: str) -> Ed25519PublicKey:
    """A public key as `ssh-keygen` writes it. Raises Error."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_ssh_public_key

    try:
        found = load_ssh_public_key(text.strip().encode())
    except (ValueError, UnsupportedAlgorithm):
        found = None
    if not isinstance(found, Ed25519PublicKey):
        hint = "write the line of the file that ends in .pub: `ssh-keygen -t ed25519` makes one"
        raise Error(f"expected a public key 'ssh-ed25519 …', got '{shown(text)}'", hint=hint)
    return found


def _private(path: str) -> Ed25519PrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key

    try:
        data, _ = read_plain(path, _LIMIT)
    except OSError as error:
        raise Error(
            f"cannot be read: {reason(error)}", path=path, hint="it signs what goes to the remote cache"
        ) from None
    load = load_ssh_private_key if b"OPENSSH" in data else load_pem_private_key
    found: object = None
    what = "is not a private key"
    try:
        found = load(data, None)
    except TypeError:
        what = "is a key with a passphrase, which nobody is asked for in a build"
    except (ValueError, UnsupportedAlgorithm):
        if data.startswith((b"ssh-", b"ecdsa-")) or b" PUBLIC KEY-" in data:
            what = "is a public key, and the private one signs"
        elif b"ENCRYPTED" in data:
            what = "is a key with a passphrase, which nobody is asked for in a build"
    if isinstance(found, Ed25519PrivateKey):
        return found
    if found is not None:
        kind = type(found).__name__.strip("_").removesuffix("PrivateKey")
        kind = "ECDSA" if kind in ("EC", "EllipticCurve") else kind
        what = f"is a key of the kind {kind}, and not an Ed25519 key"
    hint = "name the file without .pub" if "public" in what else "`ssh-keygen -t ed25519 -N '' -f FILE` makes one"
    raise Error(what, path=path, hint=hint)


def _message(value: dict[str, Any]) -> bytes:
    return _CONTEXT + canonical(value)
