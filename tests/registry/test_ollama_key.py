from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from modelbuild.errors import Error
from modelbuild.registry import ollama_key
from modelbuild.registry.authorization import signed_url
from modelbuild.registry.ollama_key import OllamaKey
from tests.registry.models import check_golden


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(ollama_key, "SERVICE", str(tmp_path / "service"))
    return tmp_path


def pem(key: Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())


PROTECTED = b"""\
-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHIAAAAGYmNyeXB0AAAAGAAAABBJPZtsLR
u7ILM+6tk9570EAAAAEAAAAAEAAAAzAAAAC3NzaC1lZDI1NTE5AAAAIB+IWycC77INlC0y
PVHYkxlQJCPEBoNmNOjckl+oTzDjAAAAkMUk5e13zKd7flC7X+eZKiA9zrchjDfnsKws2I
AyAx2ILAhjRcyilhEa1eBvEDKAKkmRjdQPSy2XtQustosyIYvsPXtADX+zBEntlVivSS7N
A4zqGoizf0ru9lvMmHdnCiAJ3pt0qrndQecor+5+I+hmat+XskI98vfMrR50FmxGpQleCp
oVeR8nxnOkK8K5kQ==
-----END OPENSSH PRIVATE KEY-----
"""
"""By `ssh-keygen -t ed25519 -N hunter2`."""


def put(folder: Path, data: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "id_ed25519").write_bytes(data)
    return folder / "id_ed25519"


def test_what_ollama_signs_for_the_key_of_bytes_0_to_31() -> None:
    """Computed with Ollama's own code (server/auth.go, auth/auth.go)."""
    key = OllamaKey("x", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
    url = signed_url(
        "https://registry.ollama.ai/v2/token", "ollama", ["repository:user/m:pull,push"], bytes(16), 1700000000
    )
    assert url == (
        "https://registry.ollama.ai/v2/token?nonce=AAAAAAAAAAAAAAAAAAAAAA"
        "&scope=repository%3Auser%2Fm%3Apull%2Cpush&service=ollama&ts=1700000000"
    )
    assert key.authorization(url) == (
        "AAAAC3NzaC1lZDI1NTE5AAAAIAOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4:"
        "ZqftEJVD4K/02KyKJjNl3U7c4oNRXQqNbailbEW9B2OpGGp5WDB+6r+l7K+C219gb97yF021EAUABwF0bLkJAQ=="
    )
    assert repr(key) == "OllamaKey('x')"


def test_the_users_key_comes_before_that_of_the_service(home: Path) -> None:
    assert ollama_key.find() is None
    put(home / "service", pem(Ed25519PrivateKey.from_private_bytes(b"s" * 32)))
    found = ollama_key.find()
    assert found is not None and found.path == str(home / "service/id_ed25519")
    path = put(home / "home/.ollama", pem(Ed25519PrivateKey.from_private_bytes(b"u" * 32)))
    found = ollama_key.find()
    assert found is not None and found.path == str(path)


@pytest.mark.parametrize(
    ("case", "data"),
    [
        ("key-passphrase", PROTECTED),
        ("key-other-kind", pem(ec.generate_private_key(ec.SECP256R1()))),
        ("key-text", b"hunter2\n"),
        ("key-cut", pem(Ed25519PrivateKey.from_private_bytes(b"u" * 32))[:100]),
        ("key-empty", b""),
    ],
)
def test_a_key_that_cannot_be_used(home: Path, case: str, data: bytes) -> None:
    put(home / "home/.ollama", data)
    with pytest.raises(Error) as wrong:
        ollama_key.find()
    assert "hunter2" not in str(wrong.value)
    check_golden(case, wrong.value, "HOST", home)


def test_a_key_that_is_no_file_or_too_large(home: Path) -> None:
    (home / "home/.ollama/id_ed25519").mkdir(parents=True)
    with pytest.raises(Error, match="cannot be read"):
        ollama_key.find()
    (home / "home/.ollama/id_ed25519").rmdir()
    put(home / "home/.ollama", b"x" * 100_000)
    with pytest.raises(Error, match="cannot be read"):
        ollama_key.find()


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_the_key_of_a_service_that_may_not_be_read_is_passed_over_and_known_of(home: Path) -> None:
    put(home / "service", b"secret").chmod(0)
    assert ollama_key.find() is None
    assert ollama_key.unreadable() == str(home / "service/id_ed25519")


def test_a_new_key_is_for_its_user_alone(home: Path) -> None:
    os.umask(mask := os.umask(0))
    try:
        made = ollama_key.create()
    finally:
        os.umask(mask)
    folder = home / "home/.ollama"
    assert sorted(path.name for path in folder.iterdir()) == ["id_ed25519", "id_ed25519.pub"]
    assert stat.S_IMODE((folder / "id_ed25519").stat().st_mode) == 0o600
    assert stat.S_IMODE((folder / "id_ed25519.pub").stat().st_mode) == 0o644
    assert (folder / "id_ed25519.pub").read_text() == made.public + "\n"
    found = ollama_key.find()
    assert found is not None and found.public == made.public and made.public.startswith("ssh-ed25519 AAAA")


def test_a_key_is_never_replaced(home: Path) -> None:
    path = put(home / "home/.ollama", b"something")
    with pytest.raises(Error) as there:
        ollama_key.create()
    check_golden("key-there", there.value, "HOST", home)
    assert path.read_bytes() == b"something" and len(list(path.parent.iterdir())) == 1


def test_where_no_key_can_be_written(home: Path) -> None:
    (home / "home").write_text("a file")
    with pytest.raises(Error, match="cannot be written"):
        ollama_key.create()
