"""K-means' hyperparameters, with SageMaker's names, ranges and defaults.

Source: "K-Means Hyperparameters" in the SageMaker developer guide.
"""

from collections.abc import Mapping
from typing import Any, Final

from sagebrush_server.algorithms.hyperparameters import (
    AUTO,
    Hyperparameter,
    choice,
    integer,
    number,
    or_auto,
    read_hyperparameters,
)
from sagebrush_server.algorithms.shared_hyperparameters import FORCE_DENSE, POSITIVE, whole, words

METHODS: Final = ("random", "kmeans++")
METRICS: Final = ("msd", "ssd")

TABLE: Final = (
    whole("k", required=True),
    whole("feature_dim", required=True),
    whole("mini_batch_size", default=5000),
    whole("epochs", default=1),
    Hyperparameter(name="init_method", parse=choice(*METHODS), legal="random or kmeans++", default="random"),
    Hyperparameter(
        name="extra_center_factor", parse=or_auto(integer(minimum=1)), legal=f"auto or {POSITIVE}", default=AUTO
    ),
    Hyperparameter(
        name="half_life_time_size", parse=integer(minimum=0), legal="a whole number of at least 0", default=0
    ),
    whole("local_lloyd_max_iter", default=300),
    Hyperparameter(
        name="local_lloyd_tol", parse=number(minimum=0, maximum=1), legal="a number from 0 to 1", default=0.0001
    ),
    Hyperparameter(
        name="local_lloyd_init_method", parse=choice(*METHODS), legal="random or kmeans++", default="kmeans++"
    ),
    Hyperparameter(
        name="local_lloyd_num_trials", parse=or_auto(integer(minimum=1)), legal=f"auto or {POSITIVE}", default=AUTO
    ),
    Hyperparameter(
        name="eval_metrics", parse=words(*METRICS), legal='a JSON list of msd and ssd, such as ["msd","ssd"]',
        default=("msd",),
    ),
    FORCE_DENSE,
)  # fmt: skip


def read(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a value for every hyperparameter. Raises ClientError."""
    return read_hyperparameters(given, table=TABLE)
