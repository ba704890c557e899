"""A stand-in for registries that takes uploads, keeps its repositories apart, and forgets nothing that it was asked."""

from __future__ import annotations

import re
from urllib.parse import parse_qs

from tests.registry.standin import MANIFEST, Asked, Reply, Standin, digest

UPLOAD = r"/v2/(.+)/blobs/uploads/(\d+)$"


class Uploads(Standin):
    """`held` has the (repository, digest) of each blob; `uploads` what has arrived of each upload, by its number."""

    def __init__(self) -> None:
        super().__init__()
        self.held: set[tuple[str, str]] = set()
        self.uploads: dict[str, bytearray] = {}
        self._next = 0

    def hold(self, repository: str, data: bytes) -> str:
        self.held.add((repository, self.put(data)))
        return digest(data)

    def usual(self, asked: Asked) -> Reply:
        path, _, query = asked.path.partition("?")
        values = {name: texts[0] for name, texts in parse_qs(query).items()}
        if found := re.fullmatch(r"/v2/(.+)/blobs/uploads/", path):
            return self._begin(found[1], values)
        if found := re.fullmatch(UPLOAD, path):
            return self._upload(asked, found[1], found[2], values)
        if (found := re.fullmatch(r"/v2/(.+)/blobs/(sha256:\w+)", path)) and found.groups() not in self.held:
            return Reply(404)
        if (found := re.fullmatch(r"/v2/(.+)/manifests/(.+)", path)) and asked.method == "PUT":
            self.put_manifest(found[1], asked.body, found[2])
            return Reply(201, headers=[("Docker-Content-Digest", digest(asked.body))])
        return super().usual(asked)

    def _begin(self, repository: str, values: dict[str, str]) -> Reply:
        if (values.get("from", ""), values.get("mount", "")) in self.held:
            self.held.add((repository, values["mount"]))
            return Reply(201, headers=[("Docker-Content-Digest", values["mount"])])
        with self._mutex:
            self._next += 1
            number = str(self._next)
        self.uploads[number] = bytearray()
        return self.arrived(repository, number, 202)

    def arrived(self, repository: str, number: str, status: int) -> Reply:
        """An answer that says how much of an upload has arrived, and where it goes on."""
        count = len(self.uploads[number])
        place = f"/v2/{repository}/blobs/uploads/{number}?_state=after-{count}"
        return Reply(status, headers=[("Location", place), ("Range", f"0-{max(count - 1, 0)}")])

    def _upload(self, asked: Asked, repository: str, number: str, values: dict[str, str]) -> Reply:
        data = self.uploads.get(number)
        if data is None:
            return Reply(404)
        if asked.method == "GET":
            return self.arrived(repository, number, 204)
        if asked.method == "DELETE":
            del self.uploads[number]
            return Reply(204)
        if asked.method == "PATCH":
            start = int(asked.headers["content-range"].partition("-")[0])
            if start != len(data):
                return Reply(416, headers=self.arrived(repository, number, 416).headers)
            data += asked.body
            return self.arrived(repository, number, 202)
        data += asked.body
        if digest(bytes(data)) != values["digest"]:
            return Reply(400, b'{"errors": [{"code": "DIGEST_INVALID", "message": "wrong digest"}]}')
        self.hold(repository, bytes(data))
        del self.uploads[number]
        return Reply(201, headers=[("Docker-Content-Digest", values["digest"])])

    def cut(self, count: int) -> None:
        """Have the connection of the next PATCH break after so many bytes, which arrive."""

        def reply(asked: Asked) -> Reply:
            found = re.fullmatch(UPLOAD, asked.path.partition("?")[0])
            assert found is not None
            self.uploads[found[2]] += asked.body[:count]
            raise ConnectionError

        self.on("PATCH", "", reply, last=False)

    def methods(self) -> list[str]:
        """The methods of all requests, in order."""
        return [asked.method for asked in self.asked]


__all__ = ["MANIFEST", "Asked", "Reply", "Uploads", "digest"]
