from __future__ import annotations

from pathlib import Path

import pytest

from modelbuild.errors import Error
from modelbuild.registry import trust
from tests.registry import certificates
from tests.registry.clients import transport
from tests.registry.standin import Reply, Standin


def test_a_certificate_is_trusted_where_its_file_is_named(tmp_path: Path) -> None:
    file, context = certificates.make(tmp_path)
    with Standin(tls=context) as registry:
        registry.script.append(lambda asked: Reply(200, b"hello"))
        with transport(ca_file=str(file)).request("GET", f"{registry.url}/v2/") as answer:
            assert answer.body() == b"hello"
        with pytest.raises(Error) as caught:
            transport().request("GET", f"{registry.url}/v2/")
    assert caught.value.what == f"the certificate of '{registry.host}' is not trusted"
    assert "--ca-file" in str(caught.value)
    # It is not asked again: nothing would change.
    assert len(registry.asked) == 1


@pytest.mark.parametrize(
    ("text", "told"), [(None, "cannot be read: no such file"), ("no certificate", "in PEM format")]
)
def test_a_file_without_certificates_is_an_error(tmp_path: Path, text: str | None, told: str) -> None:
    file = tmp_path / "ca.pem"
    if text is not None:
        file.write_text(text)
    with pytest.raises(Error, match=told) as caught:
        transport(ca_file=str(file))
    assert caught.value.path == str(file)


def test_roots_are_found_where_the_system_has_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python that was built for another system looks in another place."""
    file, _ = certificates.make(tmp_path)
    monkeypatch.setattr(trust, "_has_roots", lambda: False)
    monkeypatch.setattr(trust, "BUNDLES", ("/nowhere/ca.pem", str(file)))
    known = trust.context().get_ca_certs()
    assert any(each["subject"] == ((("commonName", "stand-in"),),) for each in known)
