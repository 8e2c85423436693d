"""Which store a URI belongs to."""

from sagebrush_server.storage.base import StorageError, Store


def store_for(uri: str) -> Store:
    """Return the store of an `s3://`, `http(s)://` or `pvc://` URI. Raises StorageError for another scheme.

    boto3 is imported for `s3://` only.
    """
    scheme = uri.partition("://")[0]
    if scheme == "s3":
        from sagebrush_server.storage.s3 import S3Store

        return S3Store()
    if scheme in ("http", "https"):
        from sagebrush_server.storage.http import HttpStore

        return HttpStore()
    if scheme == "pvc":
        from sagebrush_server.storage.pvc import PvcStore

        return PvcStore()
    raise StorageError(f"{uri}: no store is known for it; use s3://, http(s):// or pvc://", transient=False)
