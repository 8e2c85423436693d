"""XGBoost's hyperparameters as SageMaker's algorithm takes them.

Sources: "XGBoost hyperparameters" in the SageMaker developer guide; "XGBoost Parameters" for what the library does when one is
left out. What the installed library no longer has is refused with what took its place.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from sagebrush_server.algorithms.hyperparameters import (
    Hyperparameter,
    Parse,
    boolean,
    choice,
    integer,
    number,
    read_hyperparameters,
)
from sagebrush_server.errors import ClientError

OBJECTIVES: Final = (
    *("reg:squarederror", "reg:squaredlogerror", "reg:logistic", "reg:pseudohubererror", "reg:absoluteerror"),
    *("binary:logistic", "binary:logitraw", "binary:hinge", "count:poisson", "survival:cox"),
    *("multi:softmax", "multi:softprob", "reg:gamma", "reg:tweedie"),
)
_RANKING: Final = ("rank:pairwise", "rank:ndcg", "rank:map")
_INTERVALS: Final = ("survival:aft",)
MULTICLASS: Final = ("multi:softmax", "multi:softprob")

METRICS: Final = (
    *("rmse", "rmsle", "mae", "mape", "mphe", "logloss", "error", "merror", "mlogloss", "auc", "aucpr"),
    *("poisson-nloglik", "gamma-nloglik", "cox-nloglik", "gamma-deviance"),
)
_METRIC_WITH_NUMBER: Final = re.compile(r"(error|tweedie-nloglik)@\d*\.?\d+")


def _metrics(text: str) -> list[str]:
    names = [name.strip() for name in text.strip("[] ").replace('"', "").replace("'", "").split(",")]
    if not all(name in METRICS or _METRIC_WITH_NUMBER.fullmatch(name) for name in names):
        raise ValueError
    return names


def _objective(text: str) -> str:
    if text == "reg:linear":
        return "reg:squarederror"  # its name before XGBoost 0.90
    if text not in (*OBJECTIVES, *_RANKING, *_INTERVALS):
        raise ValueError
    return text


def _text(pattern: str) -> Parse:
    def parse(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError
        return text

    return parse


_AT_LEAST_0: Final[dict[str, Any]] = {"parse": number(minimum=0), "legal": "a number of at least 0"}
_FRACTION: Final[dict[str, Any]] = {"parse": number(minimum=0, maximum=1), "legal": "a number from 0 to 1"}
_SHARE: Final[dict[str, Any]] = {"parse": number(above=0, maximum=1), "legal": "a number above 0, up to 1"}
_COUNT: Final[dict[str, Any]] = {"parse": integer(minimum=1), "legal": "a whole number of at least 1"}
_COUNT_OR_0: Final[dict[str, Any]] = {"parse": integer(minimum=0), "legal": "a whole number of at least 0"}
_FLAG: Final[dict[str, Any]] = {"parse": integer(minimum=0, maximum=1), "legal": "0 or 1"}
_GONE: Final = "XGBoost 3, which trains here, no longer has it"


def _choice(*words: str) -> dict[str, Any]:
    return {"parse": choice(*words), "legal": "one of " + ", ".join(words)}


TABLE: Final = (
    Hyperparameter(name="num_round", required=True, **_COUNT),
    Hyperparameter(name="objective", parse=_objective, legal="one of " + ", ".join((*OBJECTIVES, *_RANKING, *_INTERVALS)),
                   default="reg:squarederror", only=OBJECTIVES,
                   because="the formats of the channels can say neither which rows belong together nor intervals"),
    Hyperparameter(name="num_class", parse=integer(minimum=2), legal="a whole number of at least 2"),
    Hyperparameter(name="eval_metric", parse=_metrics,
                   legal="a list, with commas, of " + ", ".join((*METRICS, "error@t", "tweedie-nloglik@rho"))),
    Hyperparameter(name="early_stopping_rounds", **_COUNT),
    Hyperparameter(name="csv_weights", default=0, **_FLAG),
    Hyperparameter(name="save_model_on_termination", parse=boolean, legal="true or false", default=True),
    Hyperparameter(name="base_score", parse=number(), legal="a number"),
    Hyperparameter(name="booster", default="gbtree", **_choice("gbtree", "gblinear", "dart")),
    Hyperparameter(name="eta", **_FRACTION),
    Hyperparameter(name="learning_rate", **_FRACTION),
    Hyperparameter(name="gamma", **_AT_LEAST_0),
    Hyperparameter(name="min_split_loss", **_AT_LEAST_0),
    Hyperparameter(name="lambda", **_AT_LEAST_0),
    Hyperparameter(name="reg_lambda", **_AT_LEAST_0),
    Hyperparameter(name="alpha", **_AT_LEAST_0),
    Hyperparameter(name="reg_alpha", **_AT_LEAST_0),
    Hyperparameter(name="max_depth", **_COUNT_OR_0),
    Hyperparameter(name="min_child_weight", **_AT_LEAST_0),
    Hyperparameter(name="max_delta_step", **_AT_LEAST_0),
    Hyperparameter(name="subsample", **_SHARE),
    Hyperparameter(name="colsample_bytree", **_SHARE),
    Hyperparameter(name="colsample_bylevel", **_SHARE),
    Hyperparameter(name="colsample_bynode", **_SHARE),
    Hyperparameter(name="tree_method", default="auto", only=("auto", "exact", "approx", "hist"),
                   because="training runs on CPUs", **_choice("auto", "exact", "approx", "hist", "gpu_hist")),
    Hyperparameter(name="scale_pos_weight", **_AT_LEAST_0),
    Hyperparameter(name="updater", parse=_text(r"[a-z_]+(,[a-z_]+)*"), legal="names of updaters with commas between them"),
    Hyperparameter(name="refresh_leaf", **_FLAG),
    Hyperparameter(name="process_type", default="default", only=("default",),
                   because="training always starts without a model to update", **_choice("default", "update")),
    Hyperparameter(name="grow_policy", **_choice("depthwise", "lossguide")),
    Hyperparameter(name="max_leaves", **_COUNT_OR_0),
    Hyperparameter(name="max_bin", parse=integer(minimum=0), legal="a whole number of at least 2"),
    Hyperparameter(name="monotone_constraints", parse=_text(r"\(\s*-?[01](\s*,\s*-?[01])*\s*,?\s*\)"),
                   legal="-1, 0 or 1 for each feature, as (1,0,-1)"),
    Hyperparameter(name="interaction_constraints", parse=_text(r"\[\s*\[[\d,\s]+\](\s*,\s*\[[\d,\s]+\])*\s*\]"),
                   legal="lists of features, as [[0,1],[2,3]]"),
    Hyperparameter(name="sampling_method", default="uniform", only=("uniform",),
                   because="on CPUs XGBoost samples uniformly", **_choice("uniform", "gradient_based")),
    Hyperparameter(name="num_parallel_tree", **_COUNT),
    Hyperparameter(name="sample_type", **_choice("uniform", "weighted")),
    Hyperparameter(name="normalize_type", **_choice("tree", "forest")),
    Hyperparameter(name="rate_drop", **_FRACTION),
    Hyperparameter(name="one_drop", **_FLAG),
    Hyperparameter(name="skip_drop", **_FRACTION),
    Hyperparameter(name="tweedie_variance_power", parse=number(above=1, below=2), legal="a number above 1 and below 2"),
    Hyperparameter(name="nthread", **_COUNT),
    Hyperparameter(name="seed", parse=integer(minimum=-(2**31), maximum=2**31 - 1), legal="a whole number of 32 bits"),
    Hyperparameter(name="verbosity", default=1, parse=integer(minimum=0, maximum=3), legal="a whole number from 0 to 3"),
    Hyperparameter(name="_kfold", parse=integer(minimum=2), legal="a whole number of at least 2", only=(),
                   because="this version trains one model; validate with a validation channel"),
    Hyperparameter(name="_num_cv_round", parse=integer(minimum=1), legal="a whole number of at least 1", only=(),
                   because="it belongs to _kfold, which this version doesn't offer"),
    Hyperparameter(name="sketch_eps", parse=number(above=0, below=1), legal="a number above 0 and below 1", only=(),
                   because=f"{_GONE}; max_bin (1/sketch_eps) took its place"),
    Hyperparameter(name="lambda_bias", only=(0.0,), because=f"{_GONE}", **_FRACTION),
    Hyperparameter(name="single_precision_histogram", parse=boolean, legal="true or false", only=(False,), because=_GONE),
    Hyperparameter(name="deterministic_histogram", parse=boolean, legal="true or false", only=(True,),
                   because="histograms are always deterministic"),
    Hyperparameter(name="aft_loss_distribution", only=(), because="it belongs to survival:aft, which isn't offered",
                   **_choice("normal", "logistic", "extreme")),
    Hyperparameter(name="aft_loss_distribution_scale", only=(), because="it belongs to survival:aft, which isn't offered",
                   **_AT_LEAST_0),
)  # fmt: skip

_OURS: Final = frozenset(
    [
        "num_round",
        "early_stopping_rounds",
        "csv_weights",
        "save_model_on_termination",
        "eval_metric",
        "seed",
        "nthread",
        "process_type",
        "sampling_method",
        "single_precision_histogram",
        "deterministic_histogram",
        "lambda_bias",
    ]
)
"""What is not handed on to the library as it is."""

_SAME: Final = (
    ("eta", "learning_rate"),
    ("gamma", "min_split_loss"),
    ("lambda", "reg_lambda"),
    ("alpha", "reg_alpha"),
)
_TREES: Final = ("gbtree", "dart")
_EFFECT: Final[tuple[tuple[tuple[str, ...], str, tuple[str, ...]], ...]] = (
    (("sample_type", "normalize_type", "rate_drop", "one_drop", "skip_drop"), "booster", ("dart",)),
    (
        (
            *(
                "gamma",
                "min_split_loss",
                "max_depth",
                "min_child_weight",
                "max_delta_step",
                "subsample",
                "colsample_bytree",
            ),
            *("colsample_bylevel", "colsample_bynode", "grow_policy", "max_leaves", "max_bin", "monotone_constraints"),
            *("interaction_constraints", "num_parallel_tree", "refresh_leaf"),
        ),
        "booster",
        _TREES,
    ),
    (("num_class",), "objective", MULTICLASS),
    (("tweedie_variance_power",), "objective", ("reg:tweedie",)),
)
"""What has an effect only beside certain values of another hyperparameter."""


def read(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a value for every hyperparameter, None for what is left to XGBoost.

    Raises ClientError, also for combinations that contradict each other.
    """
    values = read_hyperparameters(given, table=TABLE)
    for name, alias in _SAME:
        if values[name] is not None and values[alias] is not None:
            raise ClientError(f"hyperparameters {name} and {alias} are two names of the same: give one of them")
    for names, other, needed in _EFFECT:
        for name in names:
            if values[name] is not None and values[other] not in needed:
                raise ClientError(
                    f"hyperparameter {name}={values[name]} has an effect only with {other}={' or '.join(needed)}"
                )
    if values["objective"] in MULTICLASS and values["num_class"] is None:
        raise ClientError(f"hyperparameter num_class is required with objective={values['objective']}")
    if values["max_bin"] is not None and values["max_bin"] < 2:
        raise ClientError(f"hyperparameter max_bin={values['max_bin']}: must be a whole number of at least 2")
    if values["booster"] == "gblinear" and values["tree_method"] != "auto":
        raise ClientError("hyperparameter tree_method has an effect only with booster=gbtree or dart")
    return values


def library_parameters(values: Mapping[str, Any], *, seed: int, threads: int) -> dict[str, Any]:
    """Return what is handed to XGBoost: what was given, and nothing where it wasn't."""
    handed = {name: value for name, value in values.items() if value is not None and name not in _OURS}
    if values["booster"] == "gblinear":
        handed.pop("tree_method")
    return {
        **handed,
        "seed": seed if values["seed"] is None else values["seed"],
        "nthread": values["nthread"] or threads,
        "eval_metric": values["eval_metric"] or [],
        # What it doesn't know would otherwise pass without a word.
        "validate_parameters": True,
    }
