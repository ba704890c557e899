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
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelbuild.sharing.cache import SharedCache

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

BLOB = 1_340_000_000
RECORDS = 10_000
VARIANTS = 1_000
ROUNDS = 3

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


def joined(folder: Path, url: str) -> SharedCache:
    """A cache in a folder, joined with a server."""
    from modelbuild import remotes
    from modelbuild.engine.store import Store
    from modelbuild.sharing.cache import SharedCache, Terms
    from modelbuild.sharing.keys import Keys

    terms = Terms(True, True, lambda step: True)
    keys = Keys(lambda source, digest: None)
    return SharedCache(Store(str(folder)), remotes.connect(url), keys, terms, lambda: None, print)


def blob(folder: Path) -> None:
    """One large file, each way; the best of three, with curl's in turn."""
    from modelbuild.engine.action import ActionResult

    path = folder / "blob"
    sha = hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(BLOB // 10_000_000):
            data = os.urandom(10_000_000)
            sha.update(data)
            file.write(data)
    result = ActionResult("sha256:" + sha.hexdigest(), path.stat().st_size)
    times: dict[str, list[float]] = {"curl sends": [], "sent": [], "curl fetches": [], "fetched": []}
    with nginx(folder) as url:
        for turn in range(ROUNDS):
            for each in (folder / "www").glob("*"):
                shutil.rmtree(each) if each.is_dir() else each.unlink()
            times["curl sends"].append(curl("-T", str(path), f"{url}/curl"))
            own, other = joined(folder / f"own{turn}", url), joined(folder / f"other{turn}", url)
            temporary = Path(own.store.scratch) / ".tmp-blob"
            os.link(path, temporary)
            # As what a build has made: a build that sends what another one made hashes it first.
            own.store.adopt(str(temporary), result.artifact, None)
            begun = time.perf_counter()
            own.uploads.give(*result)
            times["sent"].append(time.perf_counter() - begun)
            times["curl fetches"].append(curl("-o", str(folder / "fetched"), f"{url}/curl"))
            (folder / "fetched").unlink()
            begun = time.perf_counter()
            assert other.fetch(result)
            times["fetched"].append(time.perf_counter() - begun)
            shutil.rmtree(other.store.root)
            shutil.rmtree(own.store.root)
    for what, found in times.items():
        print(f"{what:<13} {min(found):.2f} s  {BLOB / min(found) / 1e6:.0f} MB/s")
    print(f"memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


def records(folder: Path) -> None:
    """Small records, asked for at once."""
    from modelbuild.digest import sha256
    from modelbuild.engine.action import ActionResult
    from modelbuild.sharing.record import Record

    with nginx(folder) as url:
        keys = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(RECORDS)]
        (folder / "www/ac").mkdir()
        for key in keys:
            (folder / "www/ac" / key).write_bytes(Record(key, ActionResult(sha256(key.encode()), 64)).encode())
        shared = joined(folder / "store", url)
        begun = time.perf_counter()
        found = list(shared.records(keys))
        seconds = time.perf_counter() - begun
        assert all(found)
    print(f"{len(keys) / seconds:.0f} records a second")
    print(f"memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


def variants(folder: Path) -> None:
    """Many variants of one checkpoint, each with a text of its own: made, taken from the remote alone, and with nothing to do."""
    import synthetic

    with nginx(folder) as url:
        synthetic.checkpoint(folder / "weights", layers=2, hidden=256, intermediate=256, vocabulary=300)
        models = "".join(
            f'[model.m{number}]\nfrom = "../weights"\nquantize = "q8_0"\nsystem = "{number}"\n'
            for number in range(VARIANTS)
        )
        for name in ("first", "second"):
            project = folder / name
            project.mkdir()
            (project / "ModelBuild.toml").write_text(f'[cache]\nremote = "{url}"\n{models}')
            places = ["-C", str(project), "--cache", str(project / "cache"), "--models", str(project / "models")]
            for what in ("cold", "nothing to do, all looked up", "nothing to do"):
                (project / "ModelBuild.toml").touch()
                words = ["--remote-cache", "off"] if what != "cold" else []
                begun = time.perf_counter()
                subprocess.run([sys.executable, "-m", "modelbuild", *places, *words, "--quiet"], check=True)
                print(f"{name}: {what:<30} {time.perf_counter() - begun:.2f} s")


def main() -> None:
    what = {"blob": blob, "records": records, "variants": variants}
    for name in sys.argv[1:] or what:
        with tempfile.TemporaryDirectory(prefix="remote-") as folder:
            what[name](Path(folder))


if __name__ == "__main__":
    main()
