"""An S3 server on this machine, and the environment in which the clients of its libraries find it."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from unittest import mock

import s3fs
from moto.moto_server.threaded_moto_server import ThreadedMotoServer

BUCKET = "twist-runs"


class S3Server:
    """It keeps what it has while it is stopped."""

    def __init__(self) -> None:
        logging.getLogger("werkzeug").setLevel(logging.WARNING)  # a line for each request
        self._server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        self._server.start()
        _, self.port = self._server.get_host_and_port()

    def stop(self) -> None:
        self._server.stop()

    def start_again(self) -> None:
        self._server = ThreadedMotoServer("127.0.0.1", self.port, verbose=False)
        self._server.start()

    def environment(self) -> dict[str, str]:
        """Its address and credentials, and nothing of whoever runs the tests."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ACCESS_KEY_ID": "made-up",
            "AWS_SECRET_ACCESS_KEY": "made-up",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }


@contextlib.contextmanager
def s3_server() -> Iterator[S3Server]:
    """A server with one bucket; the processes of this block find it."""
    server = S3Server()
    others = {name: "" for name in os.environ if name.startswith(("AWS_", "FSSPEC_"))}
    with mock.patch.dict(os.environ, server.environment()):
        for name in others.keys() - server.environment().keys():
            del os.environ[name]
        with contextlib.suppress(FileExistsError):  # all servers of one process keep the same things
            s3fs.S3FileSystem(skip_instance_cache=True).mkdir(BUCKET)
        try:
            yield server
        finally:
            server.stop()
