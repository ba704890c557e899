"""Stores behind a wire that fails when it is told to: a server of ours, nginx, a bucket of moto's, and a folder without a wire."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.remotes.buckets import bucket
from tests.remotes.nginx import Nginx
from tests.remotes.webdav import serving
from tests.remotes.wire import Wire, wire


class Place(NamedTuple):
    """A store as a project names it.

    wire  what lies between
    fill  has it keep these files, by kind and digest, and no others
    kept  the files that it keeps
    """

    url: str
    wire: Wire
    fill: Callable[[dict[str, bytes]], None]
    kept: Callable[[], dict[str, bytes]]


@contextmanager
def place(store: str, folder: Path) -> Iterator[Place]:
    """A store behind a wire."""
    with ExitStack() as stack:
        if store == "http":
            server = stack.enter_context(serving())
            between = stack.enter_context(wire(server.server_address[1]))

            def fill(files: dict[str, bytes]) -> None:
                server.files = {f"/cache/{name}": data for name, data in files.items()}

            def kept() -> dict[str, bytes]:
                return {path.removeprefix("/cache/"): data for path, data in server.files.items()}

            yield Place(f"http://127.0.0.1:{between.port}/cache", between, fill, kept)
        elif store == "folder":
            (folder / "share").mkdir()
            yield Place(f"file://{folder}/share", stack.enter_context(wire(0)), *of_folder(folder / "share"))
        elif store == "nginx":
            nginx = Nginx(folder / "nginx")
            stack.callback(nginx.kill)
            between = stack.enter_context(wire(nginx.port))
            yield Place(f"http://127.0.0.1:{between.port}", between, *of_folder(nginx.files))
        else:
            url = stack.enter_context(bucket())
            between = stack.enter_context(wire(int(os.environ["AWS_ENDPOINT_URL"].rpartition(":")[2])))
            fill_bucket, kept_bucket = of_bucket(url)
            os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{between.port}"
            yield Place(url, between, fill_bucket, kept_bucket)


def of_folder(root: Path) -> tuple[Callable[[dict[str, bytes]], None], Callable[[], dict[str, bytes]]]:
    def fill(files: dict[str, bytes]) -> None:
        for each in root.iterdir():
            shutil.rmtree(each)
        for name, data in files.items():
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).write_bytes(data)

    def kept() -> dict[str, bytes]:
        return {str(path.relative_to(root)): path.read_bytes() for path in root.glob("*/*")}

    return fill, kept


def of_bucket(url: str) -> tuple[Callable[[dict[str, bytes]], None], Callable[[], dict[str, bytes]]]:
    import boto3

    name, _, prefix = url.removeprefix("s3://").partition("/")
    client = boto3.resource("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"]).Bucket(name)

    def fill(files: dict[str, bytes]) -> None:
        client.objects.all().delete()
        for file, data in files.items():
            client.put_object(Key=f"{prefix}/{file}", Body=data)

    def kept() -> dict[str, bytes]:
        return {each.key.removeprefix(f"{prefix}/"): each.get()["Body"].read() for each in client.objects.all()}

    return fill, kept
