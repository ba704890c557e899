"""Debian's docker-registry, started on a free port of this machine with its storage in a test's folder."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any

PROGRAM = "docker-registry"
MISSING = None if shutil.which(PROGRAM) else f"{PROGRAM} is not installed (Debian's package {PROGRAM})"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class DockerRegistry(AbstractContextManager["DockerRegistry"]):
    """`config` is merged into its configuration. Another start on the same folder finds what the one before stored."""

    def __init__(self, folder: Path, config: dict[str, Any] | None = None, *, tls: bool = False) -> None:
        self.folder = folder
        self._config = config or {}
        self._tls = tls

    def __enter__(self) -> DockerRegistry:
        self.folder.mkdir(parents=True, exist_ok=True)
        for _ in range(10):
            # Somebody else may take the port meanwhile.
            port = free_port()
            self.host = f"127.0.0.1:{port}"
            self._process = self._started()
            if self._answers():
                return self
        raise AssertionError((self.folder / "log").read_text())

    def _started(self) -> subprocess.Popen[bytes]:
        config = {
            "version": 0.1,
            "log": {"level": "info", "accesslog": {"disabled": False}},
            "storage": {"filesystem": {"rootdirectory": str(self.folder / "storage")}, "delete": {"enabled": True}},
            **self._config,
        }
        config["http"] = {"addr": self.host, **self._config.get("http", {})}
        # JSON is YAML.
        (self.folder / "config.yml").write_text(json.dumps(config))
        self._log = (self.folder / "log").open("ab")
        command = [PROGRAM, "serve", str(self.folder / "config.yml")]
        return subprocess.Popen(command, stdout=self._log, stderr=subprocess.STDOUT)

    def _answers(self) -> bool:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                with socket.create_connection(self.host.split(":"), timeout=10):  # type: ignore[arg-type]
                    return self._process.poll() is None
            except OSError:
                if self._process.poll() is not None:
                    self._log.close()
                    return False
                time.sleep(0.05)
        return False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()

    def get(self, path: str, accept: str = "") -> bytes:
        """What the registry itself answers, asked by nothing of ours."""
        request = urllib.request.Request(f"http://{self.host}{path}", headers={"Accept": accept} if accept else {})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return bytes(answer.read())

    def has(self, path: str, accept: str = "") -> bool:
        try:
            self.get(path, accept)
        except urllib.error.HTTPError as error:
            assert error.code == 404
            return False
        return True

    def log(self) -> list[str]:
        """The lines of the requests so far."""
        return [
            line
            for line in (self.folder / "log").read_text().splitlines()
            if '"modelbuild/' in line and " - - [" in line
        ]
