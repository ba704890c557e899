"""Who is let in, how, and what is never sent to whom."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelbuild.errors import Error
from modelbuild.ollama.name import Name
from modelbuild.registry import ollama_key
from modelbuild.registry.authorization import UserAuthorization
from modelbuild.registry.origin import Origin, origin_of
from modelbuild.registry.patience import Patience
from modelbuild.registry.repository import Repository
from modelbuild.registry.transport import Transport
from tests.registry.models import check_golden
from tests.registry.standin import Asked, Reply, Standin, digest
from tests.registry.token_service import TokenService

BLOB = b"a blob"


class Guarded(Standin):
    """A registry that lets in whom `accepts` knows, and challenges all others."""

    def __init__(self) -> None:
        super().__init__()
        self.put(BLOB)
        self.challenges: list[str] = []
        self.accepts: set[str] = set()
        self.prefix: str | None = None

    def usual(self, asked: Asked) -> Reply:
        sent = asked.headers.get("authorization", "")
        if sent in self.accepts or (self.prefix is not None and sent.startswith(self.prefix)):
            return super().usual(asked)
        return Reply(401, headers=[("WWW-Authenticate", each) for each in self.challenges])


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)
    monkeypatch.setattr(ollama_key, "SERVICE", str(tmp_path / "service"))
    return tmp_path


@pytest.fixture
def registry() -> Iterator[Guarded]:
    with Guarded() as registry:
        yield registry


def login(home: Path, host: str, **entry: str) -> None:
    (home / ".docker").mkdir(exist_ok=True)
    (home / ".docker/config.json").write_text(json.dumps({"auths": {host: entry}}))


def password(home: Path, host: str, text: str = "ann:hunter2") -> None:
    login(home, host, auth=base64.b64encode(text.encode()).decode())


def served(registry: Guarded, service: TokenService, at: Standin | None = None) -> TokenService:
    """Put a token service beside a registry, or elsewhere."""
    place = at or registry
    service.url = f"{place.url}/token"
    place.script.insert(0, lambda asked: service(asked) if asked.path.startswith("/token") else None)
    registry.challenges = [f'Bearer realm="{service.url}",service="{service.service}",scope="repository:a/b:pull"']
    registry.prefix = "Bearer opaque-"
    return service


class Asking:
    """A repository, as the transport reaches it for a user."""

    def __init__(self, registry: Standin, actions: str = "pull") -> None:
        self.authorization = UserAuthorization()
        self.transport = Transport(
            authorization=self.authorization, patience=Patience(tries=2, pause=0.001, silence=20)
        )
        self.repository = Repository(self.transport, Name.parse(f"{registry.host}/team/chat"), actions)

    def has(self) -> bool:
        return self.repository.has(digest(BLOB))

    def fails(self, case: str, host: str, home: Path) -> None:
        with pytest.raises(Error) as failed:
            self.has()
        assert "hunter2" not in str(failed.value)
        check_golden(case, failed.value, host, home)


# Basic


def test_a_login_is_sent_when_it_is_asked_for_and_then_at_once(registry: Guarded, home: Path) -> None:
    password(home, registry.host)
    registry.challenges, registry.prefix = ['Basic realm="x"'], "Basic YW5uOmh1bnRlcjI="
    asking = Asking(registry)
    assert asking.has() and asking.has()
    assert [asked.headers.get("authorization") for asked in registry.asked] == [None, registry.prefix, registry.prefix]


def test_a_wrong_password_is_sent_once(registry: Guarded, home: Path) -> None:
    password(home, registry.host)
    registry.challenges = ['Basic realm="x"']
    asking = Asking(registry)
    asking.fails("login-refused", registry.host, home)
    with pytest.raises(Error, match="does not accept the login"):
        asking.has()
    assert len(registry.asked) == 3


def test_nobody_is_sent_a_login_that_is_not_his(registry: Guarded, home: Path) -> None:
    password(home, "other.example.com")
    registry.challenges = ['Basic realm="x"', 'Bearer realm="", Digest']
    with pytest.raises(Error, match="access denied"):
        Asking(registry).has()
    assert not any("authorization" in asked.headers for asked in registry.asked)


# Token services


def test_a_token_for_nobody(registry: Guarded) -> None:
    service = served(registry, TokenService(anonymous=("pull",)))
    asking = Asking(registry)
    assert asking.has() and asking.has()
    assert service.asked == [("", ["repository:team/chat:pull"])]
    assert len(registry.asked) == 4  # one to learn of the service, one to it


def test_a_token_for_a_login_elsewhere(registry: Guarded, home: Path) -> None:
    password(home, registry.host)
    with Standin() as other:
        service = served(registry, TokenService(passwords={"ann": "hunter2"}), other)
        assert Asking(registry, "pull,push").has()
        assert other.asked[0].headers["authorization"] == "Basic YW5uOmh1bnRlcjI="
    assert service.asked == [("ann", ["repository:team/chat:pull,push"])]
    # The registry itself sees the token alone.
    assert {asked.headers.get("authorization") for asked in registry.asked} == {None, "Bearer opaque-ann-1"}


def test_a_token_for_an_identity_token(registry: Guarded, home: Path) -> None:
    login(home, registry.host, auth="PHRva2VuPjo=", identitytoken="refresh7")
    service = served(registry, TokenService(refresh_tokens={"refresh7": "ann"}))
    assert Asking(registry).has()
    assert service.asked == [("ann", ["repository:team/chat:pull"])]
    assert not any("refresh7" in asked.path for asked in registry.asked)


def test_a_login_that_a_token_service_refuses(registry: Guarded, home: Path) -> None:
    password(home, registry.host)
    served(registry, TokenService(passwords={"ann": "other"}))
    Asking(registry).fails("login-refused-by-service", registry.host, home)


def test_a_token_is_used_until_shortly_before_its_end(registry: Guarded) -> None:
    service = served(registry, TokenService(anonymous=("pull",), lifetime=100))
    now = [1000.0]
    asking = Asking(registry)
    asking.authorization._clock = lambda: now[0]
    for second, tokens in ((0, 1), (80, 1), (95, 2)):
        now[0] = 1000.0 + second
        assert asking.has() and len(service.asked) == tokens


def test_a_token_that_is_refused_is_got_anew_once(registry: Guarded) -> None:
    service = served(registry, TokenService(anonymous=("pull",)))
    asking = Asking(registry)
    assert asking.has()
    registry.prefix = "Bearer opaque--2"
    assert asking.has() and len(service.asked) == 2
    registry.prefix = "none"
    with pytest.raises(Error, match="access denied"):
        asking.has()
    assert len(service.asked) == 3


def test_several_threads_get_one_token(registry: Guarded) -> None:
    service = served(registry, TokenService(anonymous=("pull",)))
    asking = Asking(registry)
    together = threading.Barrier(5)

    def ask() -> None:
        together.wait()
        asking.has()

    threads = [threading.Thread(target=ask) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(service.asked) == 1


def test_a_token_is_for_its_origin_and_scope_alone() -> None:
    known = UserAuthorization()
    body = json.dumps({"token": "secret7"}).encode()
    here, there = Origin("https", "a", 443), Origin("https", "b", 443)
    got = known.answer(
        here, "repository:x:pull", ['Bearer realm="https://a/token"'], lambda url, headers, form: (200, {}, body)
    )
    assert got == "Bearer secret7" == known.known(here, "repository:x:pull")
    assert known.known(there, "repository:x:pull") is known.known(here, "repository:x:push") is None
    assert "secret7" not in repr(known) + repr(known._tokens)


# Ollama's key


def ollama(registry: Guarded, key: ollama_key.OllamaKey, **more: object) -> TokenService:
    return served(registry, TokenService(service="ollama", keys={key.public.split()[1]: "ann"}, **more))  # type: ignore[arg-type]


@pytest.mark.parametrize("actions", ["pull", "pull,push"])
def test_a_token_for_ollamas_key(registry: Guarded, actions: str) -> None:
    service = ollama(registry, ollama_key.create())
    asking = Asking(registry, actions)
    assert asking.has() and asking.has()
    assert service.asked == [("ann", [f"repository:team/chat:{actions}"])]


def test_several_scopes_are_signed_each(registry: Guarded) -> None:
    service = ollama(registry, ollama_key.create())
    asking = Asking(registry)
    asking.repository.scope = "repository:team/chat:pull,push repository:acme/base:pull"
    assert asking.has()
    assert service.asked == [("ann", asking.repository.scope.split())]


def test_a_key_is_not_used_at_another_host(registry: Guarded) -> None:
    key = ollama_key.create()
    with Standin() as other:
        served(registry, TokenService(service="ollama", keys={key.public.split()[1]: "ann"}), other)
        with pytest.raises(Error):
            Asking(registry, "pull,push").has()
        assert not any("authorization" in asked.headers for asked in other.asked)


def test_a_key_that_ollama_does_not_know(registry: Guarded, home: Path) -> None:
    ollama(registry, ollama_key.create()).keys.clear()
    Asking(registry, "pull,push").fails("key-unknown", registry.host, home)


def test_no_key_where_ollama_wants_one(registry: Guarded, home: Path) -> None:
    served(registry, TokenService(service="ollama"))
    Asking(registry, "pull,push").fails("key-none", registry.host, home)


def test_another_registry_asks_for_a_login(registry: Guarded, home: Path) -> None:
    served(registry, TokenService())
    Asking(registry, "pull,push").fails("login-none", registry.host, home)


def test_a_key_is_used_at_other_registries_that_nobody_else_may_read(registry: Guarded) -> None:
    key = ollama_key.create()
    service = served(registry, TokenService(keys={key.public.split()[1]: "ann"}))
    assert Asking(registry).has()
    assert [user for user, _ in service.asked] == ["ann"]


# What a registry or its token service may say


REALMS = {
    "realm-http": 'Bearer realm="http://a.example.com/token"',
    "realm-odd": 'Bearer realm="file:///etc/passwd"',
    "realm-user": 'Bearer realm="https://user:pass@a.example.com/token"',
}


@pytest.mark.parametrize("case", REALMS)
def test_a_realm_that_is_refused(case: str, home: Path) -> None:
    def get(url: str, headers: object, form: object) -> tuple[int, dict[str, str], bytes]:
        raise AssertionError(url)

    password(home, "a.example.com")
    with pytest.raises(Error) as refused:
        UserAuthorization().answer(origin_of("https://a.example.com"), "repository:x:pull", [REALMS[case]], get)
    check_golden(case, refused.value, "HOST", home)


ANSWERS = {
    "token-text": (200, b"hunter2"),
    "token-list": (200, b"[]"),
    "token-none": (200, b"{}"),
    "token-number": (200, b'{"token": 5}'),
    "token-lines": (200, b'{"token": "a\\r\\nX-Evil: hunter2"}'),
    "token-status": (500, b""),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_an_answer_that_is_no_token(case: str, home: Path) -> None:
    status, body = ANSWERS[case]
    with pytest.raises(Error) as wrong:
        UserAuthorization().answer(
            origin_of("https://a.example.com"), "repository:x:pull", ['Bearer realm="https://a.example.com/token"'],
            lambda url, headers, form: (status, {}, body),
        )  # fmt: skip
    assert "hunter2" not in str(wrong.value)
    check_golden(case, wrong.value, "HOST", home)
