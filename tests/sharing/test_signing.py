"""Signed records: what a reader believes, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from modelbuild.engine.action import ActionResult
from modelbuild.errors import Error
from modelbuild.remotes import RECORDS
from modelbuild.sharing.cache import SharedCache
from modelbuild.sharing.record import Record
from modelbuild.sharing.signing import Signer, Trust, Untrusted, public
from tests.sharing.shared_toy import TEXT, Machine, Memory

MADE = ("321" + TEXT).encode()


def pair(folder: Path, format: PrivateFormat = PrivateFormat.OpenSSH) -> tuple[Signer, Trust]:
    key = Ed25519PrivateKey.generate()
    path = folder / "key"
    path.write_bytes(key.private_bytes(Encoding.PEM, format, NoEncryption()))
    spelled = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    return Signer(str(path)), Trust([f"{spelled} ci@example"])


@pytest.mark.parametrize("format", [PrivateFormat.OpenSSH, PrivateFormat.PKCS8])
def test_what_is_signed_is_believed_and_nothing_else(tmp_path: Path, format: PrivateFormat) -> None:
    signer, trust = pair(tmp_path, format)
    value = signer.signed({"key": "a", "size": 1})
    assert trust.believes(value)
    assert trust.believes(json.loads(json.dumps(value)))
    for wrong in ({**value, "size": 2}, {**value, "signature": ""}, {**value, "signature": 3}, {"key": "a", "size": 1}):
        assert not trust.believes(wrong)
    assert not pair(tmp_path)[1].believes(value)


@pytest.mark.parametrize("value", [r'"\ud800"', "NaN", "1e999"])
def test_what_has_no_spelling_is_not_believed(tmp_path: Path, value: str) -> None:
    record = f'{{"v": 1, "key": "a", "signature": "", "more": {value}}}'
    with pytest.raises(Untrusted):
        Record.decode(record.encode(), "a", pair(tmp_path)[1])


def test_a_record_that_somebody_else_wrote_is_refused(tmp_path: Path) -> None:
    """Whoever can write to the remote, and has no key, costs others time alone."""
    signer, trust = pair(tmp_path)
    remote = Memory()

    def machine(name: str, signs: bool) -> Machine:
        made = Machine(tmp_path / name, remote)
        made.terms = made.terms._replace(signer=signer if signs else None, trust=trust)
        return made

    machine("good", True).built()
    reader = machine("reader", False)
    assert reader.built() == [] and reader.layer() == MADE
    # The results of a layer and of another one are exchanged; both records are well formed.
    machine("good", True).built(TEXT * 2)
    records = {name: json.loads(remote.kept[RECORDS, name]) for name in remote.names(RECORDS)}
    layers = [name for name, value in records.items() if value["size"] in (len(MADE), len(MADE) + len(TEXT))]
    assert len(layers) == 2
    for name, other in zip(layers, layers[::-1], strict=True):
        forged = {**records[other], "key": name}
        remote.kept[RECORDS, name] = json.dumps(forged).encode()
    second = machine("second", False)
    assert second.built() == ["m/layer"]
    assert second.layer() == MADE
    assert isinstance(second.cache, SharedCache)


def test_what_is_no_key_says_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("a secret that is none")
    with pytest.raises(Error, match="is not a private key") as caught:
        Signer(str(file))
    assert "a secret" not in str(caught.value)
    with pytest.raises(Error, match="cannot be read"):
        Signer(str(tmp_path / "gone"))
    with pytest.raises(Error, match="expected a public key"):
        public("ssh-rsa AAAA")


def test_what_somebody_else_signed_is_no_fault_of_the_remote(tmp_path: Path) -> None:
    """However many such records there are, they are passed over with one notice, and those of ours are taken."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.mkdir()
    theirs.mkdir()
    signer, trust = pair(ours)
    other, _ = pair(theirs)
    remote = Memory()
    stranger = Machine(tmp_path / "stranger", remote)
    stranger.terms = stranger.terms._replace(signer=other)
    stranger.built()
    reader = Machine(tmp_path / "reader", remote, writes=False)
    reader.terms = reader.terms._replace(trust=trust)
    assert len(reader.built()) == 3
    assert [event["event"] for event in reader.told if event["event"] in ("unsigned", "remote-lost")] == ["unsigned"]
    reader.open()
    for number in range(5):
        remote.kept[RECORDS, f"{number:064}"] = Record(f"{number:064}", ActionResult("sha256:" + "a" * 64, 1)).encode(
            other
        )
    own = Record("f" * 64, ActionResult("sha256:" + "b" * 64, 1))
    remote.kept[RECORDS, own.key] = own.encode(signer)
    assert list(reader.shared.records([*(f"{number:064}" for number in range(5)), own.key])) == [*[None] * 5, own]
    assert reader.shared.line.serves("read")
    reader.store.close()


@pytest.mark.parametrize("form", [PrivateFormat.OpenSSH, PrivateFormat.PKCS8], ids=["ssh", "pem"])
@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("rsa", "of the kind RSA, and not an Ed25519 key"),
        ("ecdsa", "of the kind ECDSA, and not"),
        ("locked", "is a key with a passphrase"),
        ("public", "is a public key"),
    ],
)
def test_each_key_that_cannot_sign_says_why(tmp_path: Path, form: PrivateFormat, kind: str, said: str) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    key: Any = Ed25519PrivateKey.generate()
    if kind == "rsa":
        key = rsa.generate_private_key(65537, 2048)
    elif kind == "ecdsa":
        key = ec.generate_private_key(ec.SECP256R1())
    if kind == "locked" and form is PrivateFormat.OpenSSH:
        pytest.importorskip("bcrypt")
    lock = BestAvailableEncryption(b"a secret") if kind == "locked" else NoEncryption()
    data = key.private_bytes(Encoding.PEM, form, lock)
    if kind == "public":
        is_ssh = form is PrivateFormat.OpenSSH
        encoding, shape = (
            (Encoding.OpenSSH, PublicFormat.OpenSSH) if is_ssh else (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        )
        data = key.public_key().public_bytes(encoding, shape)
    file = tmp_path / "key"
    file.write_bytes(data)
    with pytest.raises(Error, match=said):
        Signer(str(file))


def test_a_signer_knows_whether_it_is_trusted(tmp_path: Path) -> None:
    signers = []
    for name in ("a", "b"):
        key = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
        (tmp_path / name).write_bytes(key)
        signers.append(Signer(str(tmp_path / name)))
    assert [Trust([signers[0].public]).has(each) for each in signers] == [True, False]
