"""One blob on its way into a registry that cuts, refuses, forgets, redirects and lies."""

from __future__ import annotations

import hashlib
import itertools
import random
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from modelbuild.errors import Error, Stopped
from modelbuild.ollama.name import Name
from modelbuild.registry import local_blob, upload
from modelbuild.registry.faults import Unreachable
from modelbuild.registry.local_blob import LocalBlob
from modelbuild.registry.patience import Patience
from modelbuild.registry.repository import Repository
from modelbuild.registry.transport import Transport
from modelbuild.registry.upload import Upload
from tests.registry.models import Models, check_golden
from tests.registry.uploads import UPLOAD, Asked, Reply, Uploads, digest

DATA = bytes(range(251)) * 400
PART = 16_000


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[Uploads]:
    monkeypatch.setattr(upload, "SMALL", 1000)
    monkeypatch.setattr(upload, "LEAST", PART)
    monkeypatch.setattr(upload, "FLOOR", 1000)
    monkeypatch.setattr(upload, "PROGRESS", 2000)
    monkeypatch.setattr(local_blob, "PIECE", 1000)
    with Uploads() as registry:
        yield registry


class Sent:
    """An upload of some bytes, and what it told on the way."""

    def __init__(self, registry: Uploads, folder: Path, data: bytes = DATA) -> None:
        self.models = Models(folder / "models")
        self.counts: list[int] = []
        self.stopped = threading.Event()
        self.path = self.models.path(self.models.blob(data))
        patience = Patience(tries=4, pause=0.001, silence=20)
        repository = Repository(Transport(patience=patience), Name.parse(f"{registry.host}/team/chat:v1"), "pull,push")
        blob = LocalBlob(str(self.path), digest(data), len(data))
        self.upload = Upload(repository, blob, repository.scope, self.counts.append, self.stopped)

    def run(self, source: str | None = None) -> bool:
        return self.upload.run(source)

    def fails(self) -> Error:
        with pytest.raises(Error) as failed:
            self.upload.run()
        return failed.value


def is_there(registry: Uploads, data: bytes = DATA) -> bool:
    return ("team/chat", digest(data)) in registry.held and registry.blobs[digest(data)] == data


def ranges(registry: Uploads) -> list[str]:
    return [asked.headers["content-range"] for asked in registry.asked if asked.method == "PATCH"]


def test_a_large_blob_goes_in_parts(registry: Uploads, tmp_path: Path) -> None:
    sent = Sent(registry, tmp_path)
    assert sent.run() and is_there(registry)
    assert registry.methods() == ["POST", *["PATCH"] * 7, "PUT"]
    assert ranges(registry)[:2] == ["0-15999", "16000-31999"] and ranges(registry)[-1] == "96000-100399"
    assert sent.counts[-1] == len(DATA) and sent.counts == sorted(sent.counts)
    # Each request goes where the answer before it said.
    assert registry.asked[3].path.endswith("_state=after-32000")
    assert registry.asked[-1].path.endswith(f"?_state=after-{len(DATA)}&digest={digest(DATA)}")


@pytest.mark.parametrize("data", [b"", b"x" * 1000])
def test_a_small_blob_goes_at_once(registry: Uploads, tmp_path: Path, data: bytes) -> None:
    assert Sent(registry, tmp_path, data).run() and is_there(registry, data)
    assert registry.methods() == ["POST", "PUT"]


@pytest.mark.parametrize("status", [400, 404, 405, 411])
def test_a_registry_that_does_not_take_it_at_once_gets_it_in_parts(
    registry: Uploads, tmp_path: Path, status: int
) -> None:
    registry.on("PUT", "", Reply(status), last=False)
    assert Sent(registry, tmp_path, b"small").run() and is_there(registry, b"small")
    assert registry.methods() == ["POST", "PUT", "POST", "PATCH", "PUT"]


def test_what_arrived_before_a_cut_is_not_sent_again(registry: Uploads, tmp_path: Path) -> None:
    registry.cut(5000)
    registry.cut(0)
    registry.cut(9999)
    assert Sent(registry, tmp_path).run() and is_there(registry)
    assert ranges(registry)[:4] == ["0-15999", "5000-20999", "5000-20999", "14999-30998"]


def test_a_small_blob_is_sent_again_after_a_cut(registry: Uploads, tmp_path: Path) -> None:
    def cut(asked: Asked) -> Reply:
        raise ConnectionError

    registry.on("PUT", "", cut, last=False)
    assert Sent(registry, tmp_path, b"small").run() and is_there(registry, b"small")


@pytest.mark.parametrize("status", [500, 502, 504, 408])
def test_a_server_that_fails_in_passing_is_asked_again(registry: Uploads, tmp_path: Path, status: int) -> None:
    registry.on("PATCH", "_state=after-16000", Reply(status), Reply(status), last=False)
    assert Sent(registry, tmp_path).run() and is_there(registry)


def test_a_server_that_keeps_failing_is_given_up(registry: Uploads, tmp_path: Path) -> None:
    registry.on("PATCH", "", Reply(500, b'{"errors": [{"message": "disk full"}]}'))
    error = Sent(registry, tmp_path).fails()
    assert isinstance(error, Unreachable)
    assert len(ranges(registry)) == 4
    check_golden("upload-fails", error, registry.host)


def test_cuts_that_let_something_through_are_borne_for_ever(registry: Uploads, tmp_path: Path) -> None:
    for _ in range(20):
        registry.cut(3000)
    assert Sent(registry, tmp_path).run() and is_there(registry)


def test_an_upload_that_the_registry_forgot_is_begun_anew(registry: Uploads, tmp_path: Path) -> None:
    def forget(asked: Asked) -> None:
        registry.uploads.clear()

    registry.on("PATCH", "_state=after-32000", forget, last=False)
    assert Sent(registry, tmp_path).run() and is_there(registry)
    assert registry.methods().count("POST") == 2


def test_a_registry_that_forgets_every_upload_is_given_up(registry: Uploads, tmp_path: Path) -> None:
    registry.on("PATCH", "", Reply(404))
    check_golden("upload-lost", Sent(registry, tmp_path).fails(), registry.host)


def test_a_registry_that_has_another_offset_is_asked_for_it(registry: Uploads, tmp_path: Path) -> None:
    def lose(asked: Asked) -> None:
        del registry.uploads["1"][20000:]

    registry.on("PATCH", "_state=after-32000", lose, last=False)
    assert Sent(registry, tmp_path).run() and is_there(registry)
    assert ranges(registry)[2:4] == ["32000-47999", "20000-35999"]


def test_a_status_without_a_range_begins_anew(registry: Uploads, tmp_path: Path) -> None:
    registry.cut(5000)
    registry.on("GET", "", Reply(204), last=False)
    assert Sent(registry, tmp_path).run() and is_there(registry)
    assert registry.methods().count("POST") == 2


def test_a_proxy_that_takes_less_at_once_gets_less(registry: Uploads, tmp_path: Path) -> None:
    def refuse(asked: Asked) -> Reply | None:
        return Reply(413) if len(asked.body) > 2000 else None

    registry.on("PATCH", "", refuse)
    assert Sent(registry, tmp_path).run() and is_there(registry)
    assert ranges(registry)[:3] == ["0-15999", "0-1999", "2000-3999"]


def test_the_answer_to_the_end_of_an_upload_may_be_lost(registry: Uploads, tmp_path: Path) -> None:
    def end(asked: Asked) -> Reply:
        assert registry.usual(asked).status == 201
        raise ConnectionError

    registry.on("PUT", "", end, last=False)
    assert Sent(registry, tmp_path).run() and is_there(registry)
    assert registry.methods()[-2:] == ["PUT", "HEAD"]


def test_what_arrived_wrong_is_sent_again(registry: Uploads, tmp_path: Path) -> None:
    def damage(asked: Asked) -> None:
        registry.uploads["1"][5] ^= 1

    registry.on("PUT", "uploads/1", damage, last=False)
    assert Sent(registry, tmp_path).run() and is_there(registry)
    assert registry.methods().count("POST") == 2


def faults(registry: Uploads, rng: random.Random) -> Callable[[Asked], Reply | None]:
    """Some thirty faults of all kinds, one after the other at random; then none."""
    left = [30]

    def script(asked: Asked) -> Reply | None:
        if asked.method not in ("PATCH", "PUT", "GET", "POST") or left[0] == 0 or rng.random() < 0.5:
            return None
        left[0] -= 1
        kind = rng.choice(["cut", "cut", "cut", "lose", "status", "unheard"])
        found = re.fullmatch(UPLOAD, asked.path.partition("?")[0])
        data = registry.uploads.get(found[2]) if found else None
        if kind == "status":
            return Reply(rng.choice([500, 502, 504]))
        if kind == "unheard":
            registry.usual(asked)
        elif kind == "cut" and asked.method == "PATCH" and data is not None:
            if int(asked.headers["content-range"].partition("-")[0]) == len(data):
                data += asked.body[: rng.randrange(len(asked.body) + 1)]
        elif kind == "lose" and data is not None:
            del data[rng.randrange(len(data) + 1) :]
        raise ConnectionError

    return script


@pytest.mark.parametrize("seed", range(12))
def test_whatever_breaks_the_blob_arrives_whole_or_not_at_all(registry: Uploads, tmp_path: Path, seed: int) -> None:
    registry.script.append(faults(registry, random.Random(seed)))
    for attempt in range(40):
        try:
            Sent(registry, tmp_path / str(attempt)).run()
            break
        except Unreachable:
            assert not registry.held
    assert is_there(registry)


# Other repositories


def test_a_blob_is_taken_from_another_repository(registry: Uploads, tmp_path: Path) -> None:
    registry.hold("acme/base", DATA)
    assert Sent(registry, tmp_path).run("acme/base") is False
    assert is_there(registry) and registry.methods() == ["POST"]
    assert registry.asked[0].path.endswith(f"?mount={digest(DATA)}&from=acme/base")


@pytest.mark.parametrize("status", [202, 400, 401, 403, 404, 405])
def test_a_registry_that_does_not_take_it_from_there_gets_it(registry: Uploads, tmp_path: Path, status: int) -> None:
    if status != 202:
        registry.on("POST", "mount=", Reply(status))
    assert Sent(registry, tmp_path).run("acme/base") is True
    assert is_there(registry)
    assert registry.methods().count("POST") == (1 if status == 202 else 2)


# Uploads that are redirected to a storage


class Storage:
    """Takes the parts of a blob for a registry, as Ollama's registry has it."""

    def __init__(self, registry: Uploads, store: Uploads) -> None:
        self.parts: list[bytes] = []
        self.ended = ""
        steps = itertools.count()
        registry.on(
            "PATCH", "", lambda asked: Reply(
                307, headers=[("Location", f"{store.url}/part/{next(steps)}?signature=secret"),
                              ("Docker-Upload-Location", f"/v2/team/chat/blobs/uploads/1?next={len(self.parts)}")],
            ),
        )  # fmt: skip
        registry.on("PUT", "", self._end)
        store.on("PUT", "^/part/", self._take)

    def _take(self, asked: Asked) -> Reply:
        assert "authorization" not in asked.headers
        self.parts.append(asked.body)
        return Reply(200)

    def _end(self, asked: Asked) -> Reply:
        self.ended = asked.path
        return Reply(201)


def test_parts_go_to_the_storage_that_a_registry_redirects_to(registry: Uploads, tmp_path: Path) -> None:
    with Uploads() as store:
        storage = Storage(registry, store)
        assert Sent(registry, tmp_path).run()
    assert b"".join(storage.parts) == DATA and len(storage.parts) == 7
    whole = hashlib.md5(b"".join(hashlib.md5(part).digest() for part in storage.parts)).hexdigest()
    assert storage.ended.endswith(f"?next=6&digest={digest(DATA)}&etag={whole}-7")
    assert registry.asked[1].headers["x-redirect-uploads"] == "1"


def test_a_part_that_a_storage_does_not_take_is_sent_again(registry: Uploads, tmp_path: Path) -> None:
    with Uploads() as store:
        storage = Storage(registry, store)
        store.script.insert(0, cut_once())
        assert Sent(registry, tmp_path).run()
    assert b"".join(storage.parts) == DATA


def cut_once(left: int = 1) -> object:
    counts = itertools.count()

    def script(asked: Asked) -> Reply | None:
        if asked.method == "PUT" and next(counts) < left:
            raise ConnectionError
        return None

    return script


def test_a_storage_that_refuses_is_an_error_without_its_secret(registry: Uploads, tmp_path: Path) -> None:
    with Uploads() as store:
        Storage(registry, store)
        store.script.insert(0, lambda asked: Reply(400, b"<xml/>"))
        error = Sent(registry, tmp_path).fails()
    assert "secret" not in str(error)
    check_golden("upload-storage", error, store.host)


# What must not be


def test_a_damaged_blob_is_never_ended(registry: Uploads, tmp_path: Path) -> None:
    sent = Sent(registry, tmp_path)
    sent.path.write_bytes(b"y" + DATA[1:])
    error = sent.fails()
    assert "damaged" in error.what
    assert "PUT" not in registry.methods() and registry.uploads == {} and not registry.held


def test_of_a_small_damaged_blob_nothing_is_sent(registry: Uploads, tmp_path: Path) -> None:
    sent = Sent(registry, tmp_path, b"small")
    sent.path.write_bytes(b"smalk")
    assert "damaged" in sent.fails().what
    assert registry.asked == []


def test_a_stop_is_heard(registry: Uploads, tmp_path: Path) -> None:
    sent = Sent(registry, tmp_path)
    registry.on("PATCH", "", lambda asked: sent.stopped.set())  # type: ignore[func-returns-value]
    with pytest.raises(Stopped):
        sent.run()


LIES = {
    "no-location": ("POST", Reply(202)),
    "range-text": ("PATCH", Reply(202, headers=[("Location", "/x"), ("Range", "everything")])),
    "range-more": ("PATCH", Reply(202, headers=[("Location", "/x"), ("Range", "0-999999999")])),
    "takes-nothing": ("PATCH", Reply(202, headers=[("Location", "/v2/team/chat/blobs/uploads/1"), ("Range", "0-0")])),
    "to-nowhere": ("PATCH", Reply(307)),
    "location-odd": ("POST", Reply(202, headers=[("Location", "gopher://x/")])),
    "other-digest": ("PUT", Reply(201, headers=[("Docker-Content-Digest", "sha256:" + "0" * 64)])),
    "denied": ("POST", Reply(403, b'{"errors": [{"message": "team/chat is not yours"}]}')),
    "refused": ("PATCH", Reply(400, b'{"errors": [{"message": "no\\u001b[31mmore"}]}')),
}


@pytest.mark.parametrize("case", LIES)
def test_a_lie_is_an_error(registry: Uploads, tmp_path: Path, case: str) -> None:
    method, reply = LIES[case]
    registry.on(method, "", reply)
    check_golden(f"upload-{case}", Sent(registry, tmp_path).fails(), registry.host)


def test_what_registry_and_storage_say_is_never_sent_the_others_way(registry: Uploads, tmp_path: Path) -> None:
    """An upload that goes on at another host goes there without authorization."""
    seen: list[str] = []

    class Known:
        def known(self, origin: object, scope: str) -> str:
            return "Bearer secret"

        def answer(self, *words: object) -> None:
            return None

    with Uploads() as other:
        registry.on("POST", "", Reply(202, headers=[("Location", f"{other.url}/v2/team/chat/blobs/uploads/9")]))
        other.uploads["9"] = bytearray()
        sent = Sent(registry, tmp_path)
        sent.upload._transport._authorization = Known()
        assert sent.run()
        seen = [asked.headers.get("authorization", "") for asked in other.asked]
    assert set(seen) == {""} and registry.asked[0].headers["authorization"] == "Bearer secret"
