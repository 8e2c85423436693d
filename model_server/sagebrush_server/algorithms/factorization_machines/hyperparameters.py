"""Factorization machines' hyperparameters, with SageMaker's names, ranges and defaults.

Source: "Factorization Machines Hyperparameters" in the SageMaker developer guide.
"""

from collections.abc import Mapping
from typing import Any, Final

from sagebrush_server.algorithms.hyperparameters import Hyperparameter, choice, number, read_hyperparameters
from sagebrush_server.algorithms.shared_hyperparameters import flag, whole
from sagebrush_server.errors import ClientError

PREDICTORS: Final = ("binary_classifier", "regressor")
METHODS: Final = ("normal", "uniform", "constant")
TERMS: Final[Mapping[str, tuple[float, float, float]]] = {
    # Learning rate, weight decay, standard deviation of the start.
    "bias": (0.1, 0.01, 0.01),
    "linear": (0.001, 0.001, 0.01),
    "factors": (0.0001, 0.00001, 0.001),
}
OWN_METHOD: Final = {"init_scale": "uniform", "init_sigma": "normal", "init_value": "constant"}
_NOT_NEGATIVE: Final = "a number of at least 0"


def _term(name: str) -> tuple[Hyperparameter, ...]:
    rate, decay, sigma = TERMS[name]

    def row(what: str, *, default: float | None) -> Hyperparameter:
        return Hyperparameter(name=f"{name}_{what}", parse=number(minimum=0), legal=_NOT_NEGATIVE, default=default)

    return (
        row("lr", default=rate),
        row("wd", default=decay),
        Hyperparameter(
            name=f"{name}_init_method", parse=choice(*METHODS), legal="one of " + ", ".join(METHODS), default="normal"
        ),
        row("init_scale", default=None),
        row("init_sigma", default=sigma),
        Hyperparameter(name=f"{name}_init_value", parse=number(), legal="a number"),
    )


TABLE: Final = (
    whole("feature_dim", required=True),
    whole("num_factors", required=True),
    Hyperparameter(
        name="predictor_type", parse=choice(*PREDICTORS), legal="binary_classifier or regressor", required=True
    ),
    whole("mini_batch_size", default=1000),
    whole("epochs", default=1),
    Hyperparameter(name="clip_gradient", parse=number(above=0), legal="a number above 0"),
    Hyperparameter(name="eps", parse=number(above=0), legal="a number above 0", default=1e-8),
    Hyperparameter(name="rescale_grad", parse=number(above=0), legal="a number above 0"),
    flag("use_bias", default=True),
    flag("use_linear", default=True),
    whole("batch_metrics_publish_interval", default=500),
    *_term("bias"),
    *_term("linear"),
    *_term("factors"),
)


def read(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a value for every hyperparameter. Raises ClientError, also for a start that its method doesn't use."""
    values = read_hyperparameters(given, table=TABLE)
    for term in TERMS:
        method = values[f"{term}_init_method"]
        for what, owner in OWN_METHOD.items():
            name = f"{term}_{what}"
            if owner == method and values[name] is None:
                raise ClientError(f"hyperparameter {name} is required with {term}_init_method={method}")
            if owner != method and name in given:
                raise ClientError(f"hyperparameter {name} has an effect only with {term}_init_method={owner}")
    for term, switch in (("bias", "use_bias"), ("linear", "use_linear")):
        idle = [name for name in given if name.startswith(f"{term}_")]
        if not values[switch] and idle:
            raise ClientError(f"hyperparameter {idle[0]} has an effect only with {switch}=true")
    return values
