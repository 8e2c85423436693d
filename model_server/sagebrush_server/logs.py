"""One line per event on standard output, flushed at once, so that `kubectl logs` shows what is happening now."""

import logging
import os
import sys
from collections.abc import Mapping


def configure_logging(environment: Mapping[str, str] = os.environ) -> None:
    """Send the log to standard output at `SAGEMAKER_CONTAINER_LOG_LEVEL` (a number or a name; default 20, INFO).

    Raises ValueError for an unknown level.
    """
    level = environment.get("SAGEMAKER_CONTAINER_LOG_LEVEL", "20")
    # A StreamHandler flushes after every record.
    logging.basicConfig(
        stream=sys.stdout,
        level=int(level) if level.isdecimal() else level.upper(),
        format="%(asctime)s %(levelname)s %(message)s",
        force=True,
    )
    # Where boto3 found its credentials is not news, unless somebody is looking for faults at DEBUG.
    for name in ("boto3", "botocore", "s3transfer", "urllib3"):
        logging.getLogger(name).setLevel(
            logging.DEBUG if logging.getLogger().level <= logging.DEBUG else logging.WARNING
        )
