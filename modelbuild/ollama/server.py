"""The Ollama server of this machine: where a client looks for it, and which models it lists. It is asked one thing, for a moment."""

from __future__ import annotations

import json
import time

from modelbuild.tuples import NamedTuple

PORT = 11434
SERVICE_FOLDER = "/usr/share/ollama/.ollama/models"
"""The models folder of the service that Ollama's installer sets up on Linux."""

PATIENCE = 0.2
"""Seconds for which a server may take to answer, in all."""

LARGEST = 8 << 20
"""Bytes of the longest answer that is read: some 20,000 models."""


class Address(NamedTuple):
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def address(variable: str | None) -> Address | None:
    """Where `$OLLAMA_HOST` says that the server is (envconfig/config.go, Host); None where that is not this machine, in plain HTTP."""
    text = (variable or "").strip().strip("\"'").strip()
    scheme, mark, rest = text.partition("://")
    if not mark:
        scheme, rest = "http", text
    port = {"http": 80}.get(scheme, PORT) if mark else PORT
    host, said = host_and_port(rest.partition("/")[0])
    if said is not None and said.isascii() and said.isdecimal() and int(said) <= 65535:
        port = int(said)
    loopback = _loopback(host)
    return Address(loopback, port) if scheme == "http" and loopback is not None else None


def host_and_port(hostport: str) -> tuple[str, str | None]:
    """Host and port as Go's net.SplitHostPort takes them apart; without a port it is all host."""
    if hostport.startswith("["):
        inside, bracket, after = hostport[1:].partition("]")
        return (inside, after[1:]) if bracket and after.startswith(":") else (hostport.strip("[]"), None)
    if hostport.count(":") == 1:
        host, _, port = hostport.partition(":")
        return host, port
    return hostport, None


def _loopback(host: str) -> str | None:
    """The address of this machine that a host means; None for any other. What a server listens on everywhere is found here."""
    if host.lower() in ("", "localhost", "127.0.0.1", "0.0.0.0"):
        return "127.0.0.1"
    import ipaddress

    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return None
    if found.is_unspecified:
        return "127.0.0.1" if found.version == 4 else "::1"
    return str(found) if found.is_loopback else None


def listed(at: Address) -> dict[str, str] | None:
    """The models that a server lists: name as it displays it, in lower case -> digest of the manifest.

    None where nobody answers in time, or not as Ollama does.
    """
    try:
        body = _get(at, "/api/tags", time.monotonic() + PATIENCE)
        models = json.loads(body)["models"]
        return {str(model["name"]).casefold(): str(model.get("digest", "")) for model in models or ()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None


def _get(at: Address, path: str, deadline: float) -> bytes:
    """The body of an answer. Over a bare socket: no proxy, and a bound on the whole of it. Raises OSError and ValueError."""
    # Of the module `socket`, whose import takes longer than all else that follows an edit of a Modelfile.
    from _socket import AF_INET, AF_INET6, SOCK_STREAM, socket

    connection = socket(AF_INET6 if ":" in at.host else AF_INET, SOCK_STREAM)
    try:
        connection.settimeout(_left(deadline))
        connection.connect((at.host, at.port))
        connection.settimeout(_left(deadline))
        connection.sendall(f"GET {path} HTTP/1.0\r\nHost: {at}\r\nAccept: application/json\r\n\r\n".encode())
        answer = bytearray()
        while len(answer) < LARGEST:
            connection.settimeout(_left(deadline))
            data = connection.recv(1 << 16)
            if not data:
                break
            answer += data
            if _is_whole(answer):
                break
        else:
            raise ValueError("too long")
    finally:
        connection.close()
    head, mark, body = bytes(answer).partition(b"\r\n\r\n")
    if not mark or head.split(b" ", 2)[1:2] != [b"200"]:
        raise ValueError("not an HTTP answer")
    return body


def _is_whole(answer: bytearray) -> bool:
    """Whether as much is there as the head says: some servers keep the connection."""
    end = answer.find(b"\r\n\r\n", 0, 1 << 16)
    if end < 0:
        return False
    for line in bytes(answer[:end]).split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and value.strip().isdigit():
            return len(answer) - end - 4 >= int(value[:20])
    return False


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
