"""The remote cache on this machine: nginx with WebDAV, beside curl.

    python benchmarks/remote.py blob      1.3 GB sent and fetched, and the same by curl
    python benchmarks/remote.py records   10,000 records asked for at once
    python benchmarks/remote.py variants  1,000 variants built from the remote alone

It needs nginx (with its module dav) and curl.
"""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

BLOB = 1_340_000_000
RECORDS_ASKED = 10_000
VARIANTS = 1_000

CONFIG = """\
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes 2; user {user};
events {{ worker_connections 512; }}
http {{
  access_log off; client_max_body_size 0; client_body_temp_path {folder}/body; sendfile on; keepalive_requests 1000000;
  server {{
    listen 127.0.0.1:{port};
    location / {{ root {folder}/www; dav_methods PUT; create_full_put_path on; client_body_buffer_size 1m; }}
  }}
}}
"""


@contextmanager
def nginx(folder: Path) -> Iterator[str]:
    """A server that keeps what is put there; its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "www").mkdir()
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    config = folder / "nginx.conf"
    config.write_text(CONFIG.format(folder=folder, port=port, user=user))
    server = subprocess.Popen(["nginx", "-c", str(config), "-p", str(folder)], stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with socket.socket() as test:
                if test.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def curl(*words: str) -> float:
    begun = time.perf_counter()
    subprocess.run(["curl", "-sSf", *words], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def blob(folder: Path) -> None:
    """One large file, each way; the best of three, with curl's beside it."""
    from modelbuild import remotes
    from modelbuild.engine.action import ActionResult, Made
    from modelbuild.engine.store import Store
    from modelbuild.sharing.cache import SharedCache, Terms
    from modelbuild.sharing.keys import Keys

    path = folder / "blob"
    sha = hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(BLOB // 10_000_000):
            data = os.urandom(10_000_000)
            sha.update(data)
            file.write(data)
    result = ActionResult("sha256:" + sha.hexdigest(), path.stat().st_size)
    with nginx(folder) as url:
        times: dict[str, list[float]] = {"curl sends": [], "sent": [], "curl fetches": [], "fetched": []}
        for turn in range(3):
            for each in (folder / "www").glob("*"):
                shutil.rmtree(each) if each.is_dir() else each.unlink()
            times["curl sends"].append(curl("-T", str(path), f"{url}/curl"))
            store = Store(str(folder / f"store{turn}"))
            os.link(path, Path(store.scratch) / ".tmp-1")
            store.adopt(str(Path(store.scratch) / ".tmp-1"), result.artifact, None)
            shared = SharedCache(
                store,
                remotes.connect(url),
                Keys(lambda *_: None),
                Terms(True, True, lambda step: True),
                lambda: None,
                print,
            )
            begun = time.perf_counter()
            shared.uploads._send_file(result.artifact, result.size)
            times["sent"].append(time.perf_counter() - begun)
            times["curl fetches"].append(curl("-o", str(folder / "fetched"), f"{url}/curl"))
            (folder / "fetched").unlink()
            other = Store(str(folder / f"other{turn}"))
            shared = SharedCache(
                other,
                remotes.connect(url),
                Keys(lambda *_: None),
                Terms(True, True, lambda step: True),
                lambda: None,
                print,
            )
            begun = time.perf_counter()
            assert shared.fetch(result)
            times["fetched"].append(time.perf_counter() - begun)
            shutil.rmtree(folder / f"other{turn}")
            shutil.rmtree(folder / f"store{turn}")
    for what, found in times.items():
        print(f"{what:<13} {min(found):.2f} s  {BLOB / min(found) / 1e6:.0f} MB/s")
    print(f"memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
    _ = Made


def records(folder: Path) -> None:
    """Small records, asked for at once."""
    from modelbuild import remotes
    from modelbuild.digest import sha256
    from modelbuild.engine.action import ActionResult
    from modelbuild.engine.store import Store
    from modelbuild.sharing.cache import SharedCache, Terms
    from modelbuild.sharing.keys import Keys
    from modelbuild.sharing.record import Record

    with nginx(folder) as url:
        keys = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(RECORDS_ASKED)]
        (folder / "www/ac").mkdir()
        for key in keys:
            (folder / "www/ac" / key).write_bytes(Record(key, ActionResult(sha256(key.encode()), 64)).encode())
        store = Store(str(folder / "store"))
        shared = SharedCache(
            store,
            remotes.connect(url),
            Keys(lambda *_: None),
            Terms(True, True, lambda step: True),
            lambda: None,
            print,
        )
        begun = time.perf_counter()
        found = list(shared._asked(keys))
        seconds = time.perf_counter() - begun
        assert all(found)
        print(f"{len(keys) / seconds:.0f} records a second")
        print(f"memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


def main() -> None:
    what = {"blob": blob, "records": records}
    for name in sys.argv[1:] or what:
        with tempfile.TemporaryDirectory(prefix="remote-") as folder:
            what[name](Path(folder))


if __name__ == "__main__":
    main()
