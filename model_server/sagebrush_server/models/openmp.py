"""OpenMP's library, which LightGBM's wheel expects of the system, while scikit-learn's and XGBoost's bring their own.

In the image `libgomp.so.1` is a link to scikit-learn's (Dockerfile): the loader takes one file for one library, so that
all of them share one OpenMP.
"""

import ctypes

from sagebrush_server.models.errors import ModelError


def require_openmp() -> None:
    """Raise ModelError, saying what to install, where the system has no `libgomp.so.1`."""
    try:
        ctypes.CDLL("libgomp.so.1")
    except OSError as problem:
        raise ModelError(
            f"LightGBM needs OpenMP's library libgomp.so.1 ({problem}): on Debian, apt-get install libgomp1"
        ) from problem
