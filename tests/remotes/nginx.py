"""nginx with WebDAV, started on a free port of this machine, its files in a folder of a test's."""

from __future__ import annotations

import getpass
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

CONFIG = """\
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log; user {user};
events {{ worker_connections 256; }}
http {{
  access_log off; client_max_body_size 0; client_body_temp_path {folder}/body;
  server {{
    listen 127.0.0.1:{port};
    location / {{ root {folder}/www; dav_methods PUT; create_full_put_path on; }}
  }}
}}
"""


class Nginx:
    """A server that keeps what is put there. Skips where nginx is not installed."""

    def __init__(self, folder: Path) -> None:
        if shutil.which("nginx") is None:
            pytest.skip("nginx is not installed (Debian's package nginx)")
        self.files = folder / "www"
        self.files.mkdir(parents=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._folder = folder
        (folder / "nginx.conf").write_text(CONFIG.format(folder=folder, port=self.port, user=getpass.getuser()))
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        words = ["nginx", "-c", str(self._folder / "nginx.conf"), "-p", str(self._folder)]
        self._process = subprocess.Popen(words, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 10
        while time.monotonic() < end:
            with socket.socket() as test:
                if test.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise AssertionError((self._folder / "error.log").read_text())

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
