"""PCA's hyperparameters, with SageMaker's names, ranges and defaults.

Source: "PCA Hyperparameters" in the SageMaker developer guide.
"""

from collections.abc import Mapping
from typing import Any, Final

from sagebrush_server.algorithms.hyperparameters import Hyperparameter, choice, integer, read_hyperparameters
from sagebrush_server.algorithms.shared_hyperparameters import FORCE_DENSE, POSITIVE, flag, whole
from sagebrush_server.errors import ClientError

TABLE: Final = (
    whole("feature_dim", required=True),
    whole("num_components", required=True),
    whole("mini_batch_size", required=True),
    Hyperparameter(
        name="algorithm_mode", parse=choice("regular", "randomized"), legal="regular or randomized", default="regular"
    ),
    flag("subtract_mean", default=True),
    Hyperparameter(
        name="extra_components", parse=integer(minimum=-1), legal="-1 or a whole number of at least 0", default=-1
    ),
    Hyperparameter(
        name="epochs", parse=integer(minimum=1), legal=POSITIVE, default=1, only=(1,),
        because="one pass over the data gives the exact sums",
    ),
    FORCE_DENSE,
)  # fmt: skip


def read(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a value for every hyperparameter. Raises ClientError, also for more components than features."""
    values = read_hyperparameters(given, table=TABLE)
    components, width = values["num_components"], values["feature_dim"]
    if components > width:
        raise ClientError(f"hyperparameter num_components={components}: it must not be above feature_dim={width}")
    if values["algorithm_mode"] == "regular" and values["extra_components"] != -1:
        raise ClientError("hyperparameter extra_components has an effect only with algorithm_mode=randomized")
    return values
