"""Random cut forest's hyperparameters, with SageMaker's names, ranges and defaults.

Source: "RCF Hyperparameters" in the SageMaker developer guide.
"""

from collections.abc import Mapping
from typing import Any, Final

from sagebrush_server.algorithms.hyperparameters import Hyperparameter, integer, read_hyperparameters
from sagebrush_server.algorithms.shared_hyperparameters import FORCE_DENSE, POSITIVE, whole, words

METRICS: Final = ("accuracy", "precision_recall_fscore")

TABLE: Final = (
    Hyperparameter(
        name="feature_dim", parse=integer(minimum=1, maximum=10_000), legal="a whole number from 1 to 10000",
        required=True,
    ),
    Hyperparameter(
        name="num_trees", parse=integer(minimum=50, maximum=1000), legal="a whole number from 50 to 1000", default=100
    ),
    Hyperparameter(
        name="num_samples_per_tree", parse=integer(minimum=1, maximum=2048), legal="a whole number from 1 to 2048",
        default=256,
    ),
    Hyperparameter(
        name="eval_metrics", parse=words(*METRICS),
        legal='a JSON list of accuracy and precision_recall_fscore, such as ["accuracy"]', default=METRICS,
    ),
    whole("mini_batch_size", default=1000),
    Hyperparameter(
        name="epochs", parse=integer(minimum=1), legal=POSITIVE, default=1, only=(1,),
        because="the sample is drawn in one pass over the data",
    ),
    FORCE_DENSE,
)  # fmt: skip


def read(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a value for every hyperparameter. Raises ClientError."""
    return read_hyperparameters(given, table=TABLE)
