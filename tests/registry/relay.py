"""A reverse proxy in a stand-in: what it is asked, it asks a registry behind it, whose links then lead to the proxy."""

from __future__ import annotations

import http.client

from tests.registry.standin import Asked, Reply

HOP = ("connection", "transfer-encoding", "content-length", "date")


def relay(asked: Asked, behind: str, before: str) -> Reply:
    """The answer of the registry at `behind`, for whoever asked at `before`."""
    connection = http.client.HTTPConnection(behind, timeout=60)
    try:
        headers = {name: value for name, value in asked.headers.items() if name not in ("connection", "content-length")}
        connection.request(
            asked.method,
            asked.path,
            body=asked.body or None,
            headers={**headers, "Content-Length": str(len(asked.body))},
        )
        answer = connection.getresponse()
        data = answer.read()
        kept = [(name, text.replace(behind, before)) for name, text in answer.getheaders() if name.lower() not in HOP]
        length = int(answer.headers.get("Content-Length", 0)) if asked.method == "HEAD" else None
        return Reply(answer.status, data, kept, length)
    finally:
        connection.close()
