"""Time `modelbuild pull` of one large blob from nginx on this machine, beside `curl` and `sha256sum`, in turn; `sync -f` counts.

    python benchmarks/pull.py [--size 1300M] [--rounds 5] [--slow 200M]

nginx serves files in the layout of a registry: /v2/NAME/manifests/TAG and /v2/NAME/blobs/DIGEST. With --slow each connection gets only so
many bytes a second, as from a distant server.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from build import MIB, MODELBUILD, Run, in_turn, medians, ratio, timed

CONFIG = """
daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
worker_processes 1;
events {{ worker_connections 64; }}
http {{
    access_log off;
    sendfile on;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen {host};
        root {folder}/files;
        limit_rate {rate};
    }}
}}
"""


def model(files: Path, size: int) -> str:
    """A repository with a model of one large blob that cannot be compressed; the blob's digest."""
    blobs = files / "v2/library/large/blobs"
    blobs.mkdir(parents=True)
    state = hashlib.sha256()
    with (blobs / "new").open("wb") as file:
        for _ in range(-(-size // MIB)):
            data = os.urandom(MIB)
            file.write(data)
            state.update(data)
    config = b'{"model_format": "gguf"}'
    layers = []
    for kind, digest, count in (
        ("application/vnd.docker.container.image.v1+json", hashlib.sha256(config).hexdigest(), len(config)),
        ("application/vnd.ollama.image.model", state.hexdigest(), -(-size // MIB) * MIB),
    ):
        layers.append({"mediaType": kind, "digest": f"sha256:{digest}", "size": count})
    (blobs / layers[0]["digest"]).write_bytes(config)
    (blobs / "new").rename(blobs / layers[1]["digest"])
    manifests = files / "v2/library/large/manifests"
    manifests.mkdir()
    (manifests / "latest").write_text(json.dumps({"schemaVersion": 2, "config": layers[0], "layers": layers[1:]}))
    return str(layers[1]["digest"])


@contextmanager
def server(folder: Path, rate: str) -> Iterator[str]:
    """nginx over the files of a folder; its host and port."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{found.getsockname()[1]}"
    folder.chmod(0o755)
    (folder / "nginx.conf").write_text(CONFIG.format(folder=folder, host=host, rate=rate))
    process = subprocess.Popen(["nginx", "-c", str(folder / "nginx.conf")], stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            with socket.socket() as ready:
                if ready.connect_ex((host.partition(":")[0], int(host.partition(":")[2]))) == 0:
                    break
            time.sleep(0.05)
        yield host
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=lambda text: int(re.sub("M$", "000000", text)), default=1_300_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slow", default="0", metavar="RATE")
    parser.add_argument("--work", type=Path)
    asked = parser.parse_args()
    if not shutil.which("nginx") or not shutil.which("curl"):
        sys.exit("nginx and curl are needed: apt-get install nginx-light curl")
    with tempfile.TemporaryDirectory(dir=asked.work) as folder:
        work = Path(folder)
        digest = model(work / "files", asked.size)
        (work / "empty").mkdir()
        with server(work, asked.slow) as host:
            ours, theirs = work / "ours", work / "theirs"

            def pull() -> Run:
                shutil.rmtree(ours, ignore_errors=True)
                places = ["-C", str(work / "empty"), "--models", str(ours / "models"), "--cache", str(ours / "cache")]
                run = timed([*MODELBUILD, *places, "-q", "pull", f"{host}/library/large"], sync=work)
                assert (ours / "models/blobs" / digest.replace(":", "-")).stat().st_size >= asked.size
                return run

            def curl() -> Run:
                shutil.rmtree(theirs, ignore_errors=True)
                theirs.mkdir()
                url, file = f"http://{host}/v2/library/large/blobs/{digest}", str(theirs / "blob")
                return timed(["curl", "-fsS", "-o", file, url], ["sha256sum", file], sync=work)

            runs = in_turn(asked.rounds, {"pull": pull, "curl + sha256sum": curl})
        medians(runs)
        ratio(runs, "curl + sha256sum", "pull")


if __name__ == "__main__":
    main()
