"""What lets a user into registries: Docker's credentials, tokens of token services, and the key that Ollama's registry knows.

Sources: the distribution project's "Token Authentication" and "OAuth2 Token Authentication" specifications; Ollama's server/auth.go.
Nothing of it is kept on a disk, and no error shows any of it.
"""

from __future__ import annotations

import base64
import json
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from modelbuild.errors import Error
from modelbuild.ollama.name import HOST
from modelbuild.registry import docker_config, ollama_key
from modelbuild.registry.challenge import Challenge, parse
from modelbuild.registry.docker_config import Credentials
from modelbuild.registry.ollama_key import OllamaKey
from modelbuild.registry.origin import Origin, origin_of
from modelbuild.registry.transport import Get
from modelbuild.tuples import NamedTuple

CLIENT = "modelbuild"
"""What we are to a service that gives tokens by OAuth2."""

_SHORTEST = 60
"""Seconds that a token is good for if its service does not say (Token Authentication, `expires_in`)."""

_EARLY = 10
"""Seconds before its end from which on a token is not used again: a request takes time."""


class _Token(NamedTuple):
    """The value of a header Authorization, and until when it is good, by the monotonic clock."""

    header: str
    until: float

    def __repr__(self) -> str:
        return "_Token(…)"


class UserAuthorization:
    """The user's own ways in. What it gives for one origin it never gives for another; used by several threads at once."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._mutex = threading.Lock()
        self._locks: dict[tuple[Origin, str], threading.Lock] = {}
        self._tokens: dict[tuple[Origin, str], _Token] = {}
        self._basic: dict[Origin, str] = {}
        self._credentials: dict[str, Credentials | None] = {}
        self._told = threading.local()

    def __repr__(self) -> str:
        return "UserAuthorization()"

    def known(self, origin: Origin, scope: str) -> str | None:
        """The header to send at once: what let us in before."""
        with self._mutex:
            token = self._tokens.get((origin, scope))
            known = token.header if token and self._clock() < token.until else self._basic.get(origin)
        self._told.last = known
        return known

    def answer(self, origin: Origin, scope: str, challenges: list[str], get: Get) -> str | None:
        """The header to send after a 401; None if there is nothing else to try. Raises Error."""
        told = getattr(self._told, "last", None)
        with self._mutex:
            lock = self._locks.setdefault((origin, scope), threading.Lock())
        with lock:
            # Another thread may have got a token while we waited.
            if (now := self.known(origin, scope)) is not None and now != told:
                return now
            offered = parse(challenges)
            bearer = next((each for each in offered if each.scheme == "bearer" and each.parameters.get("realm")), None)
            if bearer is not None:
                token = self._token(origin, scope, bearer, get)
                with self._mutex:
                    self._tokens[origin, scope] = token
                return token.header
            if any(each.scheme == "basic" for each in offered) and (found := self._login(origin)) and found.password:
                with self._mutex:
                    self._basic[origin] = found.basic
                # The same again would be refused again.
                return found.basic if found.basic != told else None
            return None

    def refused(self, origin: Origin, header: str) -> None:
        """Raise an Error if a registry does not accept the password; a token may only be too old, or for something else."""
        with self._mutex:
            is_login = self._basic.get(origin) == header
        if is_login:
            raise _wrong_login(origin, origin)

    def _login(self, origin: Origin) -> Credentials | None:
        """Docker's credentials for an origin, looked up once. Raises Error."""
        host = str(origin)
        with self._mutex:
            if host in self._credentials:
                return self._credentials[host]
        found = docker_config.credentials(host)
        with self._mutex:
            self._credentials[host] = found
        return found

    def _token(self, origin: Origin, scope: str, challenge: Challenge, get: Get) -> _Token:
        service = _Service(origin, scope, challenge, get)
        begun = self._clock()
        login = self._login(origin)
        value = service.by_login(login) if login is not None else service.by_key_or_nobody()
        return _Token(f"Bearer {_text_of(value, origin)}", begun + _lifetime(value) - _EARLY)


class _Service:
    """A token service, as a challenge names it, asked for one scope."""

    def __init__(self, origin: Origin, scope: str, challenge: Challenge, get: Get) -> None:
        self._origin = origin
        # The challenge says what this request needs; ours, what all of a command's need.
        self._scopes = scope.split()
        self._service = challenge.parameters.get("service", "")
        self._realm = challenge.parameters["realm"]
        self._get = get
        try:
            self._at = origin_of(self._realm)
        except Error as error:
            what = f"'{origin}' names a token service that is not a usable URL"
            raise Error(what, facts=[("reason", error.what)], hint="this is a fault of the registry") from None
        if origin.scheme == "https" and self._at.scheme != "https":
            what = f"'{origin}' names a token service that is reached by plain http: '{self._at}'"
            raise Error(what, hint="nothing was sent there; this is a fault of the registry")

    def by_login(self, login: Credentials) -> Any:
        """A token for Docker's credentials. Raises Error."""
        if login.identity_token:
            form = {"grant_type": "refresh_token", "service": self._service, "client_id": CLIENT,
                    "scope": " ".join(self._scopes), "refresh_token": login.identity_token}  # fmt: skip
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            status, _, body = self._get(self._realm, headers, urlencode(form).encode())
        else:
            status, _, body = self._get(self._url(), {"Authorization": login.basic}, None)
        if status in (400, 401, 403):
            raise _wrong_login(self._at, self._origin)
        return self._read(status, body)

    def by_key_or_nobody(self) -> Any:
        """A token for Ollama's key, or for nobody: whichever this registry is likely to want comes first. Raises Error."""
        is_ollama = self._origin.host == HOST or self._service == "ollama"
        is_writing = any("push" in each.rpartition(":")[2] for each in self._scopes)
        # Only for the registry's own host: elsewhere a signature might let somebody else in (server/auth.go).
        key = ollama_key.find() if self._at == self._origin else None
        asks: list[Callable[[], tuple[int, bytes]]] = [self._asked]
        if key is not None:
            asks.insert(0, partial(self._signed, key))
        if not (is_ollama or is_writing):
            asks.reverse()
        for ask in asks:
            status, body = ask()
            if status == 200:
                break
        if status in (400, 401, 403):
            raise self._refused(key, is_ollama)
        return self._read(status, body)

    def _asked(self) -> tuple[int, bytes]:
        status, _, body = self._get(self._url(), {}, None)
        return status, body

    def _signed(self, key: OllamaKey) -> tuple[int, bytes]:
        url = signed_url(self._realm, self._service, self._scopes, secrets.token_bytes(16), int(time.time()))
        status, _, body = self._get(url, {"Authorization": key.authorization(url)}, None)
        return status, body

    def _url(self) -> str:
        return _with_query(self._realm, [("service", self._service), *(("scope", each) for each in self._scopes)])

    def _read(self, status: int, body: bytes) -> Any:
        if status != 200:
            raise Error(f"'{self._at}' gives no token (status {status})", hint="try again later")
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise Error(f"'{self._at}' gave an answer that is not a token", hint="this is a fault of the registry")
        return value

    def _refused(self, key: OllamaKey | None, is_ollama: bool) -> Error:
        where, facts = self._origin, [("key", key.path)] if key else []
        if is_ollama and key:
            what, hint = (
                f"'{where}' does not know your key, or this name is not yours",
                "`modelbuild whoami` shows the key and where to add it",
            )
        elif is_ollama:
            what, hint = f"'{where}' needs a key, but there is none", "`modelbuild whoami` says how to get one"
        else:
            what, hint = f"'{where}' needs a login", f"`docker login {where}`, and try again"
        return Error(what, facts=facts, hint=hint)


def _wrong_login(asked: Origin, origin: Origin) -> Error:
    whose = "" if asked == origin else f" for '{origin}'"
    what = f"'{asked}' does not accept the login{whose}"
    return Error(what, facts=[("login from", docker_config.path())], hint=f"`docker login {origin}`, and try again")


def signed_url(realm: str, service: str, scopes: list[str], nonce: bytes, seconds: int) -> str:
    """The URL of a token as Ollama asks for it, with what its signature covers (server/auth.go, registryChallenge.URL).

    nonce    16 random bytes; base64 for URLs, unpadded
    seconds  the time, since 1970
    """
    query = [("nonce", base64.urlsafe_b64encode(nonce).rstrip(b"=").decode()), *(("scope", each) for each in scopes),
             ("service", service), ("ts", str(seconds))]  # fmt: skip
    return _with_query(realm, query, in_order=True)


def _with_query(url: str, query: list[tuple[str, str]], *, in_order: bool = False) -> str:
    """A URL with more in its query; `in_order` of the names, as Go's url.Values.Encode writes it."""
    parts = urlsplit(url)
    pairs = [*parse_qsl(parts.query, keep_blank_values=True), *((name, value) for name, value in query if value)]
    if in_order:
        pairs.sort(key=lambda pair: pair[0])
    text = urlencode(pairs)
    return urlunsplit((parts.scheme, parts.netloc, parts.path, text, ""))


def _text_of(value: Mapping[str, Any], origin: Origin) -> str:
    """The token itself; one that cannot stand in a header is none."""
    found = value.get("token") or value.get("access_token")
    if not isinstance(found, str) or not found.isascii() or not found.isprintable() or " " in found:
        raise Error(
            f"the token service of '{origin}' gave an answer that is not a token",
            hint="this is a fault of the registry",
        )
    return found


def _lifetime(value: Mapping[str, Any]) -> float:
    """Seconds that a token is good for from now on."""
    seconds = value.get("expires_in")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < 1e9:
        seconds = _SHORTEST
    try:
        issued = datetime.fromisoformat(value["issued_at"]).timestamp()
        age = time.time() - issued
    except (KeyError, TypeError, ValueError, OverflowError):
        age = 0.0
    # A clock that goes wrong, theirs or ours, must not make every token a stale one.
    return max(seconds - age, min(seconds, _SHORTEST)) if age > 0 else float(seconds)
