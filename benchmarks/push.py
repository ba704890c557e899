"""Time `modelbuild push` of one large blob to docker-registry on this machine, beside `curl` and `sha256sum`, in turn.

    python benchmarks/push.py [--size 1300M] [--rounds 3]

`curl` sends the same file by one PATCH and ends the upload by a PUT, as the distribution protocol has it; since push checks the bytes that
it sends, `sha256sum` of the file is counted with it. Each side has a repository of its own and a registry without any blobs. The
registry is Debian's package docker-registry.
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

MISSING = "docker-registry and curl are needed: apt-get install docker-registry curl"
MEDIA = "application/vnd.ollama.image.model"


@contextmanager
def registry(folder: Path) -> Iterator[str]:
    """A registry that stores below a folder and has nothing yet; its host and port."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{found.getsockname()[1]}"
    config = {
        "version": 0.1,
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "storage")}},
        "http": {"addr": host},
    }
    (folder / "config.yml").write_text(json.dumps(config))
    process = subprocess.Popen(
        ["docker-registry", "serve", str(folder / "config.yml")], stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
    )
    try:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            with socket.socket() as ready:
                if ready.connect_ex((host.partition(":")[0], int(host.partition(":")[2]))) == 0:
                    break
            time.sleep(0.05)
        yield host
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder)


def model(folder: Path, size: int) -> str:
    """A models folder with a model of one large blob that cannot be compressed; the blob's digest."""
    (folder / "blobs").mkdir(parents=True)
    state = hashlib.sha256()
    with (folder / "blobs/new").open("wb") as file:
        for _ in range(-(-size // MIB)):
            data = os.urandom(MIB)
            file.write(data)
            state.update(data)
    digest = f"sha256:{state.hexdigest()}"
    (folder / "blobs/new").rename(folder / "blobs" / digest.replace(":", "-"))
    config = b"{}\n"
    named = f"sha256:{hashlib.sha256(config).hexdigest()}"
    (folder / "blobs" / named.replace(":", "-")).write_bytes(config)
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "digest": named, "size": len(config)},
        "layers": [{"mediaType": MEDIA, "digest": digest, "size": -(-size // MIB) * MIB}],
    }
    path = folder / "manifests/registry.ollama.ai/acme/big/v1"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(manifest))
    return digest


CURL = """set -e
url=$(curl -fsS -X POST -D - -o /dev/null http://$1/v2/team/big/blobs/uploads/ | tr -d '\\r' | sed -n 's/^Location: //Ip')
url=$(curl -fsS -X PATCH -T "$2" -H 'Content-Type: application/octet-stream' -H 'Expect:' -D - -o /dev/null "$url" |
    tr -d '\\r' | sed -n 's/^Location: //Ip')
curl -fsS -X PUT -H 'Content-Length: 0' "$url&digest=$3"
sha256sum "$2" >/dev/null
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=lambda text: int(re.sub("M$", "000000", text)), default=1_300_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=Path)
    asked = parser.parse_args()
    if not shutil.which("docker-registry") or not shutil.which("curl"):
        sys.exit(MISSING)
    with tempfile.TemporaryDirectory(dir=asked.work) as folder:
        work = Path(folder)
        digest = model(work / "models", asked.size)
        blob = work / "models/blobs" / digest.replace(":", "-")
        os.environ["OLLAMA_MODELS"] = str(work / "models")
        os.environ["MODELBUILD_CACHE"] = str(work / "cache")
        (work / "empty").mkdir()

        def push() -> Run:
            with registry(work / "registry") as host:
                name = f"{host}/team/big:v1"
                return timed([*MODELBUILD, "-q", "-C", str(work / "empty"), "push", "acme/big:v1", "--to", name])

        def curl() -> Run:
            with registry(work / "registry") as host:
                return timed(["sh", "-c", CURL, "sh", host, str(blob), digest])

        runs = in_turn(asked.rounds, {"push": push, "curl + sha256sum": curl})
        medians(runs)
        ratio(runs, "curl + sha256sum", "push")


if __name__ == "__main__":
    main()
