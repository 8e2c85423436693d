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

_POSITIVE: Final = number(above=0)
_FRACTION: Final = number(above=0, below=1)


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
        name="num_classes", parse=integer(minimum=1, maximum=1_000_000), legal="a whole number from 1 to 1000000, for several classes from 3"
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
    ),
    Hyperparameter(
        name="optimizer", parse=choice("auto", "adam", "sgd", "rmsprop"), legal="one of auto, adam, sgd, rmsprop",
        default=AUTO,
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
    Hyperparameter(name="target_recall", parse=_FRACTION, legal="a number above 0 and below 1", default=0.8),
    Hyperparameter(name="target_precision", parse=_FRACTION, legal="a number above 0 and below 1", default=0.8),
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
    Hyperparameter(name="huber_delta", parse=number(minimum=0), legal="a number of at least 0", default=1.0),
    Hyperparameter(name="loss_insensitivity", parse=_POSITIVE, legal="a number above 0", default=0.01),
    Hyperparameter(name="margin", parse=number(minimum=0), legal="a number of at least 0", default=1.0),
    Hyperparameter(
        name="quantile", parse=number(above=0, below=1), legal="a number above 0 and below 1", default=0.5
    ),
    Hyperparameter(
        name="accuracy_top_k", parse=integer(minimum=1, maximum=1_000_000), legal="a whole number from 1 to 1000000",
        default=3,
    ),
    Hyperparameter(
        name="num_point_for_scaler", parse=integer(minimum=1), legal="a whole number of at least 1", default=10_000
    ),
    _auto_or("num_models", parse=integer(minimum=1), legal="a whole number of at least 1"),
    _auto_or("momentum", parse=number(minimum=0, below=1), legal="a number from 0, below 1"),
    _auto_or("beta_1", parse=number(minimum=0, below=1), legal="a number from 0, below 1"),
    _auto_or("beta_2", parse=number(minimum=0, below=1), legal="a number from 0, below 1"),
    _auto_or("bias_lr_mult", parse=_POSITIVE, legal="a number above 0"),
    _auto_or("bias_wd_mult", parse=number(minimum=0), legal="a number of at least 0"),
    Hyperparameter(
        name="init_method", parse=choice("uniform", "normal"), legal="uniform or normal", default="uniform"
    ),
    Hyperparameter(name="init_scale", parse=_POSITIVE, legal="a number above 0", default=0.07),
    Hyperparameter(name="init_sigma", parse=_POSITIVE, legal="a number above 0", default=0.01),
    Hyperparameter(name="init_bias", parse=number(), legal="a number", default=0.0),
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
    if values["num_classes"] is not None and values["num_classes"] < 3:
        raise ClientError(f"hyperparameter num_classes={values['num_classes']}: a multiclass_classifier has at least 3")
    criterion = values["binary_classifier_model_selection_criteria"]
    if values["positive_example_weight_mult"] == AUTO and criterion in ("cross_entropy_loss", "loss_function"):
        raise ClientError(
            f"hyperparameter positive_example_weight_mult='auto' needs another "
            f"binary_classifier_model_selection_criteria than {criterion}: losses under different weights can't be compared"
        )
    _check_effect(values)
    return values


_EFFECT: Final[tuple[tuple[str, str, tuple[Any, ...]], ...]] = (
    ("positive_example_weight_mult", "predictor_type", ("binary_classifier",)),
    ("binary_classifier_model_selection_criteria", "predictor_type", ("binary_classifier",)),
    ("num_calibration_samples", "predictor_type", ("binary_classifier",)),
    ("balance_multiclass_weights", "predictor_type", ("multiclass_classifier",)),
    ("accuracy_top_k", "predictor_type", ("multiclass_classifier",)),
    ("normalize_label", "predictor_type", ("regressor",)),
    ("unbias_label", "predictor_type", ("regressor",)),
    ("f_beta", "predictor_type", ("binary_classifier", "multiclass_classifier")),
    ("target_recall", "binary_classifier_model_selection_criteria", ("precision_at_target_recall",)),
    ("target_precision", "binary_classifier_model_selection_criteria", ("recall_at_target_precision",)),
    ("margin", "loss", ("hinge_loss",)),
    ("huber_delta", "loss", ("huber_loss",)),
    ("quantile", "loss", ("quantile_loss",)),
    ("loss_insensitivity", "loss", ("eps_insensitive_absolute_loss", "eps_insensitive_squared_loss")),
    ("momentum", "optimizer", ("sgd",)),
    ("beta_1", "optimizer", ("adam", AUTO)),
    ("beta_2", "optimizer", ("adam", AUTO)),
    ("init_scale", "init_method", ("uniform",)),
    ("init_sigma", "init_method", ("normal",)),
    ("init_bias", "use_bias", (True, AUTO)),
    ("bias_lr_mult", "use_bias", (True, AUTO)),
    ("bias_wd_mult", "use_bias", (True, AUTO)),
    ("lr_scheduler_step", "use_lr_scheduler", (True,)),
    ("lr_scheduler_factor", "use_lr_scheduler", (True,)),
    ("lr_scheduler_minimum_lr", "use_lr_scheduler", (True,)),
)
"""What has an effect only beside certain values of another hyperparameter."""


def _check_effect(values: Mapping[str, Any]) -> None:
    """Refuse what would have no effect; the default, `auto` and `false` ask for none."""
    defaults = {row.name: row.default for row in TABLE}
    for name, other, needed in _EFFECT:
        if values[name] not in (defaults[name], AUTO, False) and values[other] not in needed:
            legal = " or ".join(str(value).lower() for value in needed)
            raise ClientError(f"hyperparameter {name}={values[name]} has an effect only with {other}={legal}")
