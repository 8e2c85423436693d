"""scikit-learn's ensembles of trees, read into `trees.Forest`. What isn't known here is left to the library."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.models.bare import Classes
from sagebrush_server.models.linear import both, softmax
from sagebrush_server.models.trees import Forest, Tree

Floats = NDArray[np.float64]

_FORESTS: Final = ("RandomForest", "ExtraTrees", "DecisionTree", "ExtraTree")


def ensemble_classifier(estimator: Any) -> Callable[[Floats], Classes] | None:
    """Return what a classifier of trees computes, or None where it isn't one of those known."""
    name = _own_name(estimator)
    if name in {f"{kind}Classifier" for kind in _FORESTS} and estimator.n_outputs_ == 1:
        shares = _mean_of(estimator)

        def vote(rows: Floats) -> Classes:
            probabilities = shares(rows)
            return Classes(probabilities.argmax(axis=1), probabilities=probabilities)

        return vote
    raw_of = _boosted_sum(estimator, name=name)
    if raw_of is None or not name.endswith("Classifier"):
        return None
    loss = type(estimator._loss).__name__  # noqa: SLF001 – what is read here is compared with the library when loaded
    if loss == "HalfMultinomialLoss":

        def several(rows: Floats) -> Classes:
            raw = raw_of(rows)
            return Classes(raw.argmax(axis=1), raw=raw, probabilities=softmax(raw))

        return several
    if loss != "HalfBinomialLoss":
        return None
    from scipy.special import expit

    zero_is_second = name == "GradientBoostingClassifier"

    def of_two(rows: Floats) -> Classes:
        raw = raw_of(rows)[:, 0]
        index = raw >= 0 if zero_is_second else raw > 0
        return Classes(index.astype(np.intp), raw=raw, probabilities=both(expit(raw)))

    return of_two


def ensemble_regressor(estimator: Any) -> Callable[[Floats], Floats] | None:
    """Return what a regressor of trees computes, or None where it isn't one of those known."""
    name = _own_name(estimator)
    if name in {f"{kind}Regressor" for kind in _FORESTS} and estimator.n_outputs_ == 1:
        mean = _mean_of(estimator)
        return lambda rows: mean(rows)[:, 0]
    raw_of = _boosted_sum(estimator, name=name)
    if raw_of is None or not name.endswith("Regressor"):
        return None
    if name == "GradientBoostingRegressor":
        return lambda rows: raw_of(rows)[:, 0]
    link = type(estimator._loss.link).__name__  # noqa: SLF001 – as above
    if link == "IdentityLink":
        return lambda rows: raw_of(rows)[:, 0]
    if link == "LogLink":
        return lambda rows: np.exp(raw_of(rows)[:, 0])
    return None


def _own_name(estimator: Any) -> str:
    """Name of scikit-learn's own class; a class derived from it may do something else."""
    kind = type(estimator)
    return kind.__name__ if kind.__module__.startswith("sklearn.") else ""


def _mean_of(estimator: Any) -> Callable[[Floats], Floats]:
    """Mean over the trees of n×k leaf values: shares of classes, or one value."""
    members = getattr(estimator, "estimators_", None)
    forest = Forest([_read(one.tree_) for one in (members if members is not None else [estimator])], dtype=np.float32)
    count = len(members) if members is not None else 1
    return lambda rows: _sum(forest.values(rows)) / count


def _boosted_sum(estimator: Any, *, name: str) -> Callable[[Floats], Floats] | None:
    """Sum of the trees and the value they start from: n×k."""
    if name in ("HistGradientBoostingClassifier", "HistGradientBoostingRegressor"):
        if getattr(estimator, "is_categorical_", None) is not None or estimator._preprocessor is not None:  # noqa: SLF001
            return None
        rounds = estimator._predictors  # noqa: SLF001
        trees = [_read_histogram(one.nodes) for members in rounds for one in members]
        start = np.asarray(estimator._baseline_prediction).reshape(-1)  # noqa: SLF001
        dtype: type[np.floating] = np.float64
    elif name in ("GradientBoostingClassifier", "GradientBoostingRegressor"):
        if estimator.init_ != "zero" and not _own_name(estimator.init_).startswith("Dummy"):
            return None
        rounds = estimator.estimators_
        trees = [_read(one.tree_, scale=estimator.learning_rate) for members in rounds for one in members]
        start = estimator._raw_predict_init(np.zeros((1, estimator.n_features_in_), np.float32))[0]  # noqa: SLF001
        dtype = np.float32
    else:
        return None
    return _sum_from(start, trees=trees, rounds=len(rounds), dtype=dtype)


def _sum_from(
    start: Floats, *, trees: Sequence[Tree], rounds: int, dtype: type[np.floating]
) -> Callable[[Floats], Floats]:
    forest, k = Forest(trees, dtype=dtype), len(trees) // rounds

    def raw(rows: Floats) -> Floats:
        values = forest.values(rows).reshape(len(rows), rounds, k)
        values[:, 0] += start
        return _sum(values)

    return raw


def _sum(values: NDArray[np.floating]) -> Floats:
    """Sum over axis 1 in the library's order, one after the other, so that the last bit is the same."""
    return np.asarray(np.add.accumulate(values, axis=1)[:, -1])


def _read(tree: Any, *, scale: float | None = None) -> Tree:
    """Read a `sklearn.tree._tree.Tree` of one output: rows are compared in float32, thresholds are float64."""
    value = tree.value[:, 0, :]
    return Tree(
        tree.feature,
        threshold=tree.threshold,
        left=tree.children_left,
        right=tree.children_right,
        value=value if scale is None else scale * value,
    )


def _read_histogram(nodes: Any) -> Tree:
    """Read the nodes of a `TreePredictor` without categorical splits."""
    leaf = nodes["is_leaf"].astype(bool)
    return Tree(
        nodes["feature_idx"],
        threshold=nodes["num_threshold"],
        left=np.where(leaf, -1, nodes["left"].astype(np.int64)),
        right=np.where(leaf, -1, nodes["right"].astype(np.int64)),
        value=nodes["value"][:, None],
    )
