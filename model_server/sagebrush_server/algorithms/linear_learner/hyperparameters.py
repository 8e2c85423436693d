"""Linear learner's hyperparameters, with SageMaker's names, ranges and defaults.

Source: "Linear Learner Hyperparameters" in the SageMaker developer guide. Where this version honours less, the row says
so in `only` and `because`, and asking for more is refused.
"""

from collections.abc import Mapping
from typing import Any, Final

from sagebrush_server.algorithms.hyperparameters import (
    AUTO,
    Hyperparameter,
    boolean,
    choice,
    integer,
    number,
    or_auto,
    or_word,
    read_hyperparameters,
)
from sagebrush_server.errors import ClientError

CRITERIA: Final = (
    *("accuracy", "f1", "f_beta", "precision_at_target_recall", "recall_at_target_precision"),
    *("cross_entropy_loss", "loss_function"),
)
LOSSES: Final[Mapping[str, tuple[str, ...]]] = {
    "binary_classifier": ("auto", "logistic", "hinge_loss"),
    "multiclass_classifier": ("auto", "softmax_loss"),
    "regressor": (
        *("auto", "squared_loss", "absolute_loss", "eps_insensitive_squared_loss", "eps_insensitive_absolute_loss"),
        *("quantile_loss", "huber_loss"),
    ),
}
_EVERY_LOSS: Final = tuple(dict.fromkeys(loss for losses in LOSSES.values() for loss in losses))

_SGD: Final = "scikit-learn's stochastic gradient descent, which trains here, has no such setting"
_ZERO_START: Final = "training starts from zero weights; the problem is convex, so the start doesn't decide the result"
_POSITIVE: Final = number(above=0)
_FRACTION: Final = number(minimum=0, maximum=1)


def _auto_or(name: str, *, parse: Any, legal: str, **more: Any) -> Hyperparameter:
    return Hyperparameter(name=name, parse=or_auto(parse), legal=f"auto or {legal}", default=AUTO, **more)


TABLE: Final = (
    Hyperparameter(
        name="predictor_type",
        parse=choice(*LOSSES),
        legal="one of " + ", ".join(LOSSES),
        required=True,
    ),
    Hyperparameter(
        name="num_classes", parse=integer(minimum=3, maximum=1_000_000), legal="a whole number from 3 to 1000000"
    ),
    _auto_or("feature_dim", parse=integer(minimum=1), legal="a whole number of at least 1"),
    Hyperparameter(
        name="epochs", parse=integer(minimum=1), legal="a whole number of at least 1", default=15
    ),
    Hyperparameter(
        name="mini_batch_size", parse=integer(minimum=1), legal="a whole number of at least 1", default=1000
    ),
    Hyperparameter(
        name="loss", parse=choice(*_EVERY_LOSS), legal="one of " + ", ".join(_EVERY_LOSS), default=AUTO,
        only=tuple(loss for loss in _EVERY_LOSS if loss not in ("softmax_loss", "quantile_loss")),
        because="scikit-learn's stochastic gradient descent has no such loss (several classes are learned one-vs-rest)",
    ),
    Hyperparameter(
        name="optimizer", parse=choice("auto", "adam", "sgd", "rmsprop"), legal="one of auto, adam, sgd, rmsprop",
        default=AUTO, only=("auto", "sgd"),
        because="this version trains with scikit-learn's stochastic gradient descent",
    ),
    _auto_or("learning_rate", parse=_POSITIVE, legal="a number above 0"),
    _auto_or("l1", parse=number(minimum=0), legal="a number of at least 0"),
    _auto_or("wd", parse=number(minimum=0), legal="a number of at least 0"),
    Hyperparameter(name="use_bias", parse=or_auto(boolean), legal="auto, true or false", default=True),
    Hyperparameter(name="normalize_data", parse=or_auto(boolean), legal="auto, true or false", default=True),
    Hyperparameter(name="normalize_label", parse=or_auto(boolean), legal="auto, true or false", default=AUTO),
    Hyperparameter(name="unbias_data", parse=or_auto(boolean), legal="auto, true or false", default=AUTO),
    Hyperparameter(name="unbias_label", parse=or_auto(boolean), legal="auto, true or false", default=AUTO),
    Hyperparameter(
        name="positive_example_weight_mult", parse=or_word(_POSITIVE, "balanced", AUTO),
        legal="balanced, auto or a number above 0", default=1.0,
    ),
    Hyperparameter(name="balance_multiclass_weights", parse=boolean, legal="true or false", default=False),
    Hyperparameter(
        name="binary_classifier_model_selection_criteria", parse=choice(*CRITERIA),
        legal="one of " + ", ".join(CRITERIA), default="accuracy",
    ),
    Hyperparameter(name="target_recall", parse=_FRACTION, legal="a number from 0 to 1", default=0.8),
    Hyperparameter(name="target_precision", parse=_FRACTION, legal="a number from 0 to 1", default=0.8),
    Hyperparameter(name="f_beta", parse=_POSITIVE, legal="a number above 0", default=1.0),
    Hyperparameter(
        name="early_stopping_patience", parse=integer(minimum=1), legal="a whole number of at least 1", default=3
    ),
    Hyperparameter(name="early_stopping_tolerance", parse=_POSITIVE, legal="a number above 0", default=0.001),
    _auto_or("num_calibration_samples", parse=integer(minimum=1), legal="a whole number of at least 1"),
    Hyperparameter(
        name="use_lr_scheduler", parse=boolean, legal="true or false", default=True
    ),
    _auto_or("lr_scheduler_step", parse=integer(minimum=1), legal="a whole number of at least 1"),
    _auto_or("lr_scheduler_factor", parse=number(above=0, below=1), legal="a number above 0 and below 1"),
    _auto_or("lr_scheduler_minimum_lr", parse=_POSITIVE, legal="a number above 0"),
    Hyperparameter(name="huber_delta", parse=_POSITIVE, legal="a number above 0", default=1.0),
    Hyperparameter(name="loss_insensitivity", parse=_POSITIVE, legal="a number above 0", default=0.01),
    Hyperparameter(
        name="margin", parse=_POSITIVE, legal="a number above 0", default=1.0, only=(1.0,),
        because="scikit-learn's hinge loss has the margin 1",
    ),
    Hyperparameter(
        name="quantile", parse=number(above=0, below=1), legal="a number above 0 and below 1", default=0.5, only=(0.5,),
        because="quantile_loss isn't offered",
    ),
    Hyperparameter(
        name="accuracy_top_k", parse=integer(minimum=1), legal="a whole number of at least 1", default=3, only=(3,),
        because="the top-k accuracy isn't reported",
    ),
    Hyperparameter(
        name="num_point_for_scaler", parse=integer(minimum=1), legal="a whole number of at least 1", default=10_000,
        only=(10_000,), because="the normalisation always takes every row into account",
    ),
    _auto_or(
        "num_models", parse=integer(minimum=1), legal="a whole number of at least 1", only=(AUTO, 1),
        because="this version trains one model",
    ),
    _auto_or("momentum", parse=number(minimum=0, below=1), legal="a number from 0, below 1", only=(AUTO,), because=_SGD),
    _auto_or("beta_1", parse=number(minimum=0, below=1), legal="a number from 0, below 1", only=(AUTO,), because=_SGD),
    _auto_or("beta_2", parse=number(minimum=0, below=1), legal="a number from 0, below 1", only=(AUTO,), because=_SGD),
    _auto_or("bias_lr_mult", parse=_POSITIVE, legal="a number above 0", only=(AUTO,), because=_SGD),
    _auto_or("bias_wd_mult", parse=number(minimum=0), legal="a number of at least 0", only=(AUTO,), because=_SGD),
    Hyperparameter(
        name="init_method", parse=choice("uniform", "normal"), legal="uniform or normal", default="uniform",
        only=("uniform",), because=_ZERO_START,
    ),
    Hyperparameter(
        name="init_scale", parse=_POSITIVE, legal="a number above 0", default=0.07, only=(0.07,), because=_ZERO_START
    ),
    Hyperparameter(
        name="init_sigma", parse=_POSITIVE, legal="a number above 0", default=0.01, only=(0.01,), because=_ZERO_START
    ),
    Hyperparameter(
        name="init_bias", parse=number(), legal="a number", default=0.0, only=(0.0,), because=_ZERO_START
    ),
)  # fmt: skip


def read(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a value for every hyperparameter. Raises ClientError, also for combinations that contradict each other."""
    values = read_hyperparameters(given, table=TABLE)
    kind, loss = values["predictor_type"], values["loss"]
    if loss not in LOSSES[kind]:
        legal = ", ".join(LOSSES[kind])
        raise ClientError(f"hyperparameter loss={loss!r}: for predictor_type={kind} it must be one of {legal}")
    if (kind == "multiclass_classifier") != (values["num_classes"] is not None):
        raise ClientError("hyperparameter num_classes belongs to predictor_type=multiclass_classifier, and only to it")
    if values["positive_example_weight_mult"] == AUTO:
        raise ClientError(
            "hyperparameter positive_example_weight_mult='auto' can't be honoured: this version trains one model and so "
            "can't search for the weight; use balanced or a number"
        )
    _check_belonging(given, kind=kind)
    return values


_BELONGS: Final = {
    "positive_example_weight_mult": "binary_classifier",
    "binary_classifier_model_selection_criteria": "binary_classifier",
    "balance_multiclass_weights": "multiclass_classifier",
    "normalize_label": "regressor",
    "unbias_label": "regressor",
}


def _check_belonging(given: Mapping[str, Any], *, kind: str) -> None:
    """Refuse what would have no effect for this predictor type; `auto` and `false` ask for no effect."""
    for name, owner in _BELONGS.items():
        if kind != owner and str(given.get(name, AUTO)).lower() not in (AUTO, "false"):
            raise ClientError(f"hyperparameter {name}={given[name]!r} has an effect only with predictor_type={owner}")
