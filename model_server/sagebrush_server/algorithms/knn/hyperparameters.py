"""K-NN's hyperparameters, with SageMaker's names, ranges and defaults.

Source: "k-NN Hyperparameters" in the SageMaker developer guide.
"""

from collections.abc import Mapping
from typing import Any, Final

from sagebrush_server.algorithms.hyperparameters import (
    AUTO,
    Hyperparameter,
    choice,
    integer,
    or_auto,
    read_hyperparameters,
)
from sagebrush_server.algorithms.shared_hyperparameters import POSITIVE, whole
from sagebrush_server.errors import ClientError

PREDICTORS: Final = ("classifier", "regressor")
REDUCTIONS: Final = ("sign", "fjlt")
INDEXES: Final = ("faiss.Flat", "faiss.IVFFlat", "faiss.IVFPQ")
METRICS: Final = ("L2", "INNER_PRODUCT", "COSINE")
SUBVECTORS: Final = (1, 2, 3, 4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 96)


def _subvectors(text: str) -> int:
    value = int(text)
    if value not in SUBVECTORS:
        raise ValueError
    return value


TABLE: Final = (
    Hyperparameter(
        name="feature_dim", parse=or_auto(integer(minimum=1)), legal=f"auto or {POSITIVE}", required=True
    ),
    whole("k", required=True),
    Hyperparameter(
        name="predictor_type", parse=choice(*PREDICTORS), legal="classifier or regressor", required=True
    ),
    whole("sample_size", required=True),
    whole("mini_batch_size", default=5000),
    Hyperparameter(
        name="epochs", parse=integer(minimum=1), legal=POSITIVE, default=1, only=(1,),
        because="the sample is drawn in one pass over the data",
    ),
    Hyperparameter(name="dimension_reduction_type", parse=choice(*REDUCTIONS), legal="sign or fjlt"),
    whole("dimension_reduction_target"),
    Hyperparameter(
        name="index_type", parse=choice(*INDEXES), legal="one of " + ", ".join(INDEXES), default="faiss.Flat"
    ),
    Hyperparameter(name="index_metric", parse=choice(*METRICS), legal="one of " + ", ".join(METRICS), default="L2"),
    Hyperparameter(
        name="faiss_index_ivf_nlists", parse=or_auto(integer(minimum=1)), legal=f"auto or {POSITIVE}", default=AUTO
    ),
    Hyperparameter(
        name="faiss_index_pq_m", parse=_subvectors, legal="one of " + ", ".join(map(str, SUBVECTORS))
    ),
)  # fmt: skip


def read(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a value for every hyperparameter. Raises ClientError, also for combinations that contradict each other."""
    values = read_hyperparameters(given, table=TABLE)
    if values["k"] > values["sample_size"]:
        raise ClientError(f"hyperparameter k={values['k']}: it must not be above sample_size={values['sample_size']}")
    _check_reduction(values)
    _check_index(values)
    return values


def _check_reduction(values: Mapping[str, Any]) -> None:
    kind, target, width = (values[name] for name in ("dimension_reduction_type", *_REDUCED))
    if (kind is None) != (target is None):
        raise ClientError(
            "hyperparameters dimension_reduction_type and dimension_reduction_target belong together: give both or none"
        )
    if target is not None and width != AUTO and target >= width:
        raise ClientError(f"hyperparameter dimension_reduction_target={target}: it must be below feature_dim={width}")


_REDUCED: Final = ("dimension_reduction_target", "feature_dim")


def _check_index(values: Mapping[str, Any]) -> None:
    index, metric = values["index_type"], values["index_metric"]
    if index == "faiss.IVFPQ" and metric != "L2":
        raise ClientError(f"hyperparameter index_metric={metric!r}: with index_type=faiss.IVFPQ it must be L2")
    if index == "faiss.IVFPQ" and values["faiss_index_pq_m"] is None:
        raise ClientError("hyperparameter faiss_index_pq_m is required with index_type=faiss.IVFPQ")
    if index != "faiss.IVFPQ" and values["faiss_index_pq_m"] is not None:
        raise ClientError("hyperparameter faiss_index_pq_m has an effect only with index_type=faiss.IVFPQ")
    if index == "faiss.Flat" and values["faiss_index_ivf_nlists"] != AUTO:
        raise ClientError(
            "hyperparameter faiss_index_ivf_nlists has an effect only with index_type=faiss.IVFFlat or faiss.IVFPQ"
        )
