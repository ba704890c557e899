"""The texts of the errors of a pull, one golden each; UPDATE_GOLDEN=1 writes them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelbuild.engine.store import Store
from modelbuild.errors import Error
from modelbuild.ollama.manifest import MODEL
from modelbuild.ollama.name import Name
from modelbuild.publish import pulled as module
from modelbuild.publish.pulled import pull
from tests.registry.clients import transport
from tests.registry.standin import Reply, Standin, digest

GOLDEN = Path(__file__).parents[1] / "golden" / "pull"
DATA = b"weights" * 1000
BLOB = digest(DATA)
DENIED = json.dumps({"errors": [{"code": "DENIED", "message": "requested access to the resource is denied"}]}).encode()
LAYER = {"mediaType": MODEL, "digest": BLOB, "size": len(DATA)}


def manifest(**changes: Any) -> Callable[[Standin], None]:
    """A registry with a manifest that is wrong."""

    def made(registry: Standin) -> None:
        registry.put_manifest("library/m", json.dumps({"config": LAYER, "layers": [LAYER], **changes}).encode())

    return made


def answers(path: str, reply: Reply) -> Callable[[Standin], None]:
    """A registry that answers requests of a path so."""
    return lambda registry: registry.on("GET", path, reply)


def moved(location: str) -> Callable[[Standin], None]:
    return answers("/blobs/", Reply(307, headers=[("Location", location)]))


CASES: dict[str, Callable[[Standin], None]] = {
    "unknown": lambda registry: registry.manifests.clear(),
    "denied": answers("/manifests/", Reply(401, DENIED)),
    "teapot": answers("/manifests/", Reply(418)),
    "broken-server": answers("/manifests/", Reply(500, b"<html>oops</html>")),
    "too-many-requests": answers("/manifests/", Reply(429, b'{"message": "slow down"}')),
    "busy-for-hours": answers("/manifests/", Reply(503, headers=[("Retry-After", "7200")])),
    "manifest-of-a-gigabyte": answers("/manifests/", Reply(200, [b"{"], length=1 << 30)),
    "manifest-compressed": answers("/manifests/", Reply(200, b"\x1f\x8b", [("Content-Encoding", "gzip")])),
    "manifest-cut": answers("/manifests/", Reply(200, b"{", length=10)),
    "manifest-other-digest": answers("/manifests/", Reply(200, b"{}", [("Docker-Content-Digest", digest(b"other"))])),
    "manifest-html": answers("/manifests/", Reply(200, b"<html>welcome</html>")),
    "manifest-index": manifest(manifests=[]),
    "manifest-no-config": manifest(config=None),
    "manifest-digest": manifest(layers=[{**LAYER, "digest": "sha256:../../../../etc/passwd"}]),
    "manifest-digest-spelled": manifest(layers=[{**LAYER, "digest": BLOB.upper().replace("SHA", "sha")}]),
    "manifest-two-sizes": manifest(layers=[{**LAYER, "size": 5}]),
    "manifest-huge": manifest(layers=[{**LAYER, "size": 1 << 50}]),
    "manifest-image": manifest(layers=[{**LAYER, "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip"}]),
    "redirect-loop": answers("/manifests/", Reply(302, headers=[("Location", "/v2/library/m/manifests/latest")])),
    "redirect-file": answers("/manifests/", Reply(302, headers=[("Location", "file:///etc/passwd?secret")])),
    "redirect-user": moved("https://user:secret@storage.invalid/"),
    "redirect-plain": moved("http://storage.invalid/x?secret"),
    "blob-unknown": answers(BLOB, Reply(404)),
    "blob-denied": answers(BLOB, Reply(403, DENIED)),
    "blob-other-digest": answers(BLOB, Reply(200, DATA.swapcase())),
    "blob-other-size": answers(BLOB, Reply(200, DATA[:-7])),
    "blob-cut": answers(BLOB, Reply(200, DATA[:-7], length=len(DATA))),
    "blob-cut-without-length": answers(BLOB, Reply(200, [DATA[:-7]], length=-1)),
    "blob-compressed": answers(BLOB, Reply(200, b"\x1f\x8b", [("Content-Encoding", "gzip")])),
}


def check(case: str, error: Error, host: str, folder: Path) -> None:
    text = f"{error}\n".replace(host, "HOST").replace(str(folder), "FOLDER")
    path = GOLDEN / f"{case}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert "secret" not in text
    assert path.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("case", CASES)
def test_what_is_said(case: str, tmp_path: Path) -> None:
    store = Store(str(tmp_path / "cache"))
    with Standin() as registry:
        registry.add("library/m", [(MODEL, DATA)])
        CASES[case](registry)
        with pytest.raises(Error) as caught:
            pull(Name.parse(f"{registry.host}/library/m"), str(tmp_path / "models"), store, transport())
        check(case, caught.value, registry.host, tmp_path)
    store.close()


def test_what_is_said_of_too_little_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(str(tmp_path / "cache"))
    monkeypatch.setattr(module, "free", lambda path: 5000)
    with Standin() as registry:
        registry.add("library/m", [(MODEL, DATA)])
        with pytest.raises(Error) as caught:
            pull(Name.parse(f"{registry.host}/library/m"), str(tmp_path / "models"), store, transport())
        check("no-space", caught.value, registry.host, tmp_path)
    store.close()


def test_each_golden_has_its_case() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == {*CASES, "no-space"}
    assert all(re.search(r"^  hint +\S", path.read_text(), re.MULTILINE) for path in GOLDEN.iterdir())
