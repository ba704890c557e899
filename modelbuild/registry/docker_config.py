"""Credentials as `docker login` keeps them: in Docker's config.json, or with a helper program that it names."""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from modelbuild.errors import Error
from modelbuild.files import LARGEST, read_plain, reason
from modelbuild.words import shown

PATIENCE = 60.0
"""Seconds that a helper may take: it may ask the user to unlock a keyring."""

HUB = ("docker.io", "index.docker.io", "registry-1.docker.io")
HUB_KEY = "https://index.docker.io/v1/"
"""What Docker files the credentials of all its own hosts under."""

_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NONE_FOUND = "credentials not found"
"""What every helper says of a server that it does not know (docker-credential-helpers, credentials/error.go)."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a user logs in with; none of it is shown. An identity token replaces the password where a token service gave one."""

    user: str = field(repr=False)
    password: str = field(repr=False)
    identity_token: str | None = field(default=None, repr=False)

    @property
    def basic(self) -> str:
        """The value of a header Authorization by the scheme Basic (RFC 7617)."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


def path() -> str:
    """Where Docker's config.json lies, or would lie."""
    folder = os.environ.get("DOCKER_CONFIG") or os.path.join(os.path.expanduser("~"), ".docker")
    return os.path.join(folder, "config.json")


def credentials(host: str) -> Credentials | None:
    """The credentials for a registry (`registry.example.com`, with its port if it has one); None without any. Raises Error.

    As Docker does: the helper of `credHelpers` for that host, else the one of `credsStore`, else the text in `auths`.
    """
    config = _read(path())
    keys = _keys(host)
    helpers = _table(config, "credHelpers")
    helper = next((helpers[key] for key in keys if key in helpers), None) or config.get("credsStore")
    if helper is not None and (found := _asked(helper, keys)) is not None:
        return found
    auths = {_host_of(key): value for key, value in reversed(_table(config, "auths").items())}
    for key in keys:
        entry = auths.get(_host_of(key))
        if isinstance(entry, dict) and (kept := _kept(entry, host)) is not None:
            return kept
    return None


def _keys(host: str) -> list[str]:
    """What a host's credentials may be filed under."""
    return [HUB_KEY, *HUB] if host in HUB else [host, f"https://{host}"]


def _host_of(key: str) -> str:
    """The host of a key of `auths`, which may be a URL (`https://registry.example.com/v1/`)."""
    host = key.partition("://")[2] if "://" in key else key
    host = host.partition("/")[0].lower()
    return HUB[0] if host in HUB else host


def _read(file: str) -> dict[str, Any]:
    try:
        value = json.loads(read_plain(file, LARGEST)[0])
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise Error(
            f"cannot be read: {reason(error)}", path=file, hint="make it readable, or set $DOCKER_CONFIG"
        ) from None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise Error("is not a JSON object", path=file, hint="`docker login` writes this file; mend it or move it away")
    return value


def _table(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = config.get(name)
    return value if isinstance(value, dict) else {}


def _kept(entry: Mapping[str, Any], host: str) -> Credentials | None:
    """The credentials in an entry of `auths`; None for an empty one, which `docker login` leaves beside a helper."""
    user, password, token = (entry.get(name) or "" for name in ("username", "password", "identitytoken"))
    auth = entry.get("auth")
    try:
        if auth:
            user, colon, password = base64.b64decode(auth, validate=True).decode().partition(":")
            if not colon:
                raise ValueError
            password = password.rstrip("\0")
        if not all(isinstance(each, str) for each in (user, password, token)):
            raise ValueError
    except (binascii.Error, ValueError, TypeError):
        hint = f"log in again: `docker login {shown(host)}`"
        raise Error(f"the entry of '{shown(host)}' in 'auths' cannot be read", path=path(), hint=hint) from None
    return Credentials(user, password, token or None) if token or user and password else None


def _asked(helper: object, keys: list[str]) -> Credentials | None:
    """What a helper program answers: `docker-credential-NAME get`, the server on its stdin, JSON on its stdout."""
    if not isinstance(helper, str) or not _HELPER.fullmatch(helper):
        raise Error(
            "names a credential helper, but not by a valid name",
            path=path(),
            hint="valid names are 'pass', 'secretservice' and such",
        )
    program = f"docker-credential-{helper}"
    for key in keys:
        try:
            done = subprocess.run([program, "get"], input=key.encode(), capture_output=True, timeout=PATIENCE)
        except FileNotFoundError:
            hint = f"install {program}, or log in without it: remove it from {path()}"
            raise Error(f"'{program}' is not installed", facts=[("used by", path())], hint=hint) from None
        except (OSError, subprocess.TimeoutExpired) as error:
            why = "it does not answer" if isinstance(error, subprocess.TimeoutExpired) else reason(error)
            raise Error(f"'{program}' failed: {why}", facts=[("used by", path())]) from None
        if done.returncode == 0:
            return _told(done.stdout, program)
        # Its output may hold anything: of a failure only the one sentence that all helpers share is looked for.
        if _NONE_FOUND not in (done.stdout + done.stderr).decode("utf-8", "replace"):
            what = f"'{program}' failed (exit code {done.returncode})"
            raise Error(what, facts=[("used by", path())], hint=f"try it: echo {shown(key)} | {program} get")
    return None


def _told(data: bytes, program: str) -> Credentials:
    try:
        value = json.loads(data)
        user, secret = value["Username"], value["Secret"]
        if not isinstance(user, str) or not isinstance(secret, str):
            raise ValueError
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Error(f"the answer of '{program}' cannot be read", facts=[("used by", path())]) from None
    return Credentials(user, "", secret) if user == "<token>" else Credentials(user, secret)
