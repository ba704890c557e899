"""A bucket of moto's server, which speaks the protocol of S3."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import pytest


@contextmanager
def bucket() -> Iterator[str]:
    """The URL of an empty bucket, and the environment that leads there. Skips where moto or obstore is not installed."""
    pytest.importorskip("obstore")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        environment = {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        with mock.patch.dict(os.environ, environment):
            import boto3

            name = f"builds-{os.urandom(4).hex()}"  # what a server of moto keeps outlives it

            boto3.client("s3", endpoint_url=environment["AWS_ENDPOINT_URL"]).create_bucket(Bucket=name)
            yield f"s3://{name}/cache"
    finally:
        server.stop()
