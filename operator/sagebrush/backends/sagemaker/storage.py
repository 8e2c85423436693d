"""Whether what a job or an endpoint reads is there: asked of S3 before anything is paid for."""

import logging
from datetime import timedelta

from sagebrush.backends.sagemaker.base import Gateway
from sagebrush.core.sagemaker.calls import Account, AwsError, Service

log = logging.getLogger(__name__)

_FRESH = timedelta(seconds=20)
"""How old the answer about an object may be: less than the time between two looks."""


async def is_missing(gateway: Gateway, account: Account, *, uri: str, prefix: bool = False) -> bool:
    """
    Whether S3 has nothing at *uri*, or below it where it is a *prefix*.

    Whatever S3 says but "nothing there" is no obstacle: the operator need not be allowed what the execution role is, and
    SageMaker looks for itself.
    """
    bucket, _, path = uri.removeprefix("s3://").partition("/")
    if prefix:
        operation, parameters = "ListObjectsV2", {"Bucket": bucket, "Prefix": path, "MaxKeys": 1}
    else:
        operation, parameters = "HeadObject", {"Bucket": bucket, "Key": path}
    try:
        answer = await gateway.read(
            account, service=Service.S3, operation=operation, parameters=parameters, max_age=_FRESH
        )
    except AwsError as error:
        log.info("%s not checked: %s", uri, error)
        return False
    return answer is None or (prefix and not answer.get("Contents"))
