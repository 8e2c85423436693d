"""S3 as the simulator's jobs use it: moto or any other server; without an address everything exists and nothing is kept."""

import io
import tarfile
import threading
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError


def split(uri: str) -> tuple[str, str]:
    """Bucket and key of an s3:// URI."""
    parts = urlsplit(uri)
    return parts.netloc, parts.path.lstrip("/")


def small_model() -> bytes:
    """A valid model.tar.gz of a few hundred bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        content = b"a model made by the simulator\n"
        entry = tarfile.TarInfo("model.txt")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


class Storage:
    """Looks objects up and writes artifacts; `errors` keeps what S3 refused."""

    def __init__(self, endpoint: str | None, *, artifact: bytes | None = None) -> None:
        self.endpoint = endpoint
        self.artifact = artifact if artifact is not None else small_model()
        self.errors: list[str] = []
        self._clients: dict[str, Any] = {}
        self._lock = threading.Lock()

    def exists(self, uri: str, *, region: str) -> bool:
        """Whether there is an object of this key or, where the key is a prefix, one under it."""
        if self.endpoint is None:
            return True
        bucket, key = split(uri)
        try:
            found = self._client(region).list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1)
        except (ClientError, BotoCoreError):
            return False
        return int(found.get("KeyCount", 0)) > 0

    def write(self, uri: str, *, region: str) -> str | None:
        """Write the artifact there; None, or why not."""
        if self.endpoint is None:
            return None
        bucket, key = split(uri)
        try:
            self._client(region).put_object(Bucket=bucket, Key=key, Body=self.artifact)
        except (ClientError, BotoCoreError) as error:
            self.errors.append(f"{uri}: {error}")
            return str(error)
        return None

    def _client(self, region: str) -> Any:
        """One client for each region: clients are safe to share between threads, making them is not."""
        with self._lock:
            if region not in self._clients:
                self._clients[region] = boto3.session.Session().client(
                    "s3",
                    endpoint_url=self.endpoint,
                    region_name=region,
                    aws_access_key_id="simulator",
                    aws_secret_access_key="simulator",
                    config=Config(
                        s3={"addressing_style": "path"},
                        retries={"total_max_attempts": 2},
                        connect_timeout=2,
                        read_timeout=5,
                    ),
                )
            return self._clients[region]
