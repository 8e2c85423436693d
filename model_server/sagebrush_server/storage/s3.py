"""`s3://bucket/key` through boto3, on AWS or any compatible store (`AWS_ENDPOINT_URL_S3`)."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import boto3
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

from sagebrush_server.settings import read_integer, read_number
from sagebrush_server.storage.base import StorageError, StoredObject

_DENIED: Final = ("AccessDenied", "403", "Forbidden", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken")
_DENIED_MORE: Final = ("AllAccessDisabled", "AccountProblem", "InvalidToken", "InvalidSecurity", "NotSignedUp")
_TRANSIENT: Final = ("SlowDown", "RequestTimeout", "Throttling", "ThrottlingException", "RequestTimeTooSkewed")


class S3Store:
    """Implements `Store`. Retries are the caller's, so boto3's own are off: one budget, not a product of two."""

    def __init__(self) -> None:
        timeout = read_number(os.environ, name="SAGEBRUSH_STORE_TIMEOUT_SECONDS", default=30.0)
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        config = Config(
            connect_timeout=timeout,
            read_timeout=timeout,
            retries={"total_max_attempts": 1},
            # Compatible stores seldom answer under bucket.host, and many don't know the newer checksums.
            s3={"addressing_style": "path"} if endpoint else None,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        try:
            # A store with an endpoint of its own still wants some region in the signature.
            default_region = "us-east-1" if endpoint else None
            self._client = boto3.client("s3", region_name=region or default_region, config=config)
        except (BotoCoreError, ValueError) as problem:
            raise StorageError(f"s3: the client can't be set up: {problem}", transient=False) from problem
        self._endpoint = str(self._client.meta.endpoint_url)

    def list_objects(self, uri: str) -> list[StoredObject]:
        """Return every object whose key begins with the prefix, sorted by key, folder markers left out.

        As in SageMaker the prefix need not end at a slash. Names are relative to the prefix where that is a folder, else
        to the folder that it lies in.
        """
        bucket, prefix = self._split(uri)
        found: list[tuple[str, int]] = []
        with self._explained(uri):
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
                found.extend((entry["Key"], int(entry["Size"])) for entry in page.get("Contents", ()))
        keys = [(key, size) for key, size in sorted(found) if not key.endswith("/")]
        folder = prefix if prefix.endswith("/") or not prefix else prefix + "/"
        if not all(key.startswith(folder) for key, _ in keys):
            folder = prefix[: prefix.rfind("/") + 1]
        return [StoredObject(f"s3://{bucket}/{key}", name=key[len(folder) :], size=size) for key, size in keys]

    @contextlib.contextmanager
    def open_object(self, stored: StoredObject) -> Iterator[BinaryIO]:
        """GET an object as a stream; botocore notices an answer that ends too soon."""
        bucket, key = self._split(stored.uri)
        with self._explained(stored.uri):
            body = self._client.get_object(Bucket=bucket, Key=key)["Body"]
            with contextlib.closing(body):
                yield cast("BinaryIO", body)

    def upload(self, path: Path, *, uri: str) -> None:
        """PUT a file, in parts where it is large; memory stays within a few parts."""
        bucket, key = self._split(uri)
        threads = read_integer(os.environ, name="SAGEBRUSH_UPLOAD_THREADS", default=4, minimum=1)
        with self._explained(uri):
            self._client.upload_file(str(path), bucket, key, Config=TransferConfig(max_concurrency=threads))

    def _split(self, uri: str) -> tuple[str, str]:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        if not bucket:
            raise StorageError(f"{uri}: expected s3://bucket/key", transient=False)
        return bucket, key

    @contextlib.contextmanager
    def _explained(self, uri: str) -> Iterator[None]:
        """Turn boto3's errors into StorageErrors that say what to do next."""
        try:
            yield
        except (NoCredentialsError, PartialCredentialsError) as problem:
            raise StorageError(
                f"{uri}: no credentials ({problem}); name a Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
                transient=False,
            ) from problem
        except ClientError as problem:
            raise self._refused(uri, problem=problem) from problem
        except (BotoCoreError, Boto3Error, ConnectionError, TimeoutError) as problem:
            # upload_file wraps what S3 said in its own exception.
            cause = problem.__context__
            if isinstance(cause, ClientError):
                raise self._refused(uri, problem=cause) from problem
            if isinstance(problem, BotoCoreError) and type(problem).__name__ == "ParamValidationError":
                raise StorageError(f"{uri}: {' '.join(str(problem).split())}", transient=False) from problem
            raise StorageError(
                f"{uri}: the store is not reachable at endpoint {self._endpoint}: {problem}", transient=True
            ) from problem

    def _refused(self, uri: str, *, problem: Any) -> StorageError:
        error = problem.response.get("Error", {})
        code = str(error.get("Code", ""))
        status = int(problem.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        bucket, _ = self._split(uri)
        at = f"at endpoint {self._endpoint}"
        if code == "NoSuchBucket":
            return StorageError(
                f"{uri}: there is no bucket {bucket!r} {at}; create it or mend the URI", transient=False
            )
        if code in ("NoSuchKey", "404"):
            return StorageError(f"{uri}: there is no such object {at}", transient=False)
        if status == 403 or code in (*_DENIED, *_DENIED_MORE):
            return StorageError(
                f"{uri}: access denied ({code}) {at}; check the credentials and the bucket's policy", transient=False
            )
        return StorageError(
            f"{uri}: the store {at} answered {status} {code}: {error.get('Message', '')}",
            transient=status >= 500 or status == 429 or code in _TRANSIENT,
        )
