"""scikit-learn's estimators: what is served is what the library says, whichever way it is computed."""

import logging

import joblib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import (
    ElasticNet,
    LinearRegression,
    LogisticRegression,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, PolynomialFeatures, StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from sagebrush_server.algorithms.model import RowError
from sagebrush_server.models import scikit_learn, trees
from sagebrush_server.models.errors import ModelError
from sagebrush_server.models.scikit_learn import estimator_model
from sagebrush_server.models.settings import LoadingSettings
from tests.unit.server.pretrained import UNPICKLING, WIDTH, data, fitted, pickled, rows

NAMES = ["blue", "green", "red"]
CLASSIFIERS = {
    "logistic": (LogisticRegression(), 2),
    "logistic of three": (LogisticRegression(), 3),
    "SGD with log loss": (SGDClassifier(loss="log_loss", random_state=0), 2),
    "SGD of three": (SGDClassifier(loss="log_loss", random_state=0), 3),
    "scaled": (make_pipeline(StandardScaler(), LogisticRegression()), 2),
    "scaled thrice": (make_pipeline(MaxAbsScaler(), MinMaxScaler(), StandardScaler(with_std=False), LogisticRegression()), 3),
    "search": (GridSearchCV(make_pipeline(StandardScaler(), LogisticRegression()), {"logisticregression__C": [1, 2]}, cv=2), 2),
    "histogram": (HistGradientBoostingClassifier(max_iter=20), 2),
    "histogram of three": (HistGradientBoostingClassifier(max_iter=8), 3),
    "boosting": (GradientBoostingClassifier(n_estimators=20), 2),
    "boosting of three": (GradientBoostingClassifier(n_estimators=8), 3),
    "boosting from zero": (GradientBoostingClassifier(n_estimators=8, init="zero"), 2),
    "forest": (RandomForestClassifier(n_estimators=8, random_state=0), 3),
    "extra trees": (ExtraTreesClassifier(n_estimators=8, random_state=0), 2),
    "deep forest": (RandomForestClassifier(n_estimators=3, random_state=0, min_samples_leaf=1, bootstrap=False), 2),
    "tree": (DecisionTreeClassifier(random_state=0), 2),
    "scaled trees": (make_pipeline(StandardScaler(), HistGradientBoostingClassifier(max_iter=5)), 2),
}  # fmt: skip
WITHOUT_PROBABILITIES = {
    "linear SVC": (LinearSVC(), 2),
    "linear SVC of three": (LinearSVC(), 3),
    "hinge": (SGDClassifier(loss="hinge", random_state=0), 3),
}
REGRESSORS = {
    "linear": LinearRegression(),
    "ridge": Ridge(),
    "elastic net": ElasticNet(alpha=0.01),
    "SGD": SGDRegressor(random_state=0),
    "scaled": make_pipeline(StandardScaler(), LinearRegression()),
    "histogram": HistGradientBoostingRegressor(max_iter=20),
    "boosting": GradientBoostingRegressor(n_estimators=20),
    "forest": RandomForestRegressor(n_estimators=8, random_state=0),
    "tree": DecisionTreeRegressor(),
}
BY_THE_LIBRARY = {
    "neighbours": (KNeighborsClassifier(), 3),
    "a step that isn't known": (make_pipeline(PolynomialFeatures(), LogisticRegression(max_iter=500)), 2),
    "support vectors": (SVC(), 2),
    "exponential loss": (GradientBoostingClassifier(n_estimators=5, loss="exponential"), 2),
    "categories": (HistGradientBoostingClassifier(max_iter=5, categorical_features=[0]), 2),
    "ridge classifier": (RidgeClassifier(), 2),
    "modified Huber": (SGDClassifier(loss="modified_huber", random_state=0), 2),
}
Rows = arrays(np.float64, st.tuples(st.integers(1, 9), st.just(WIDTH)), elements=st.floats(-1e3, 1e3, width=64))


def the_fast_way(estimator):
    """The model, which must be served without the library."""
    model = estimator_model(estimator, settings=LoadingSettings())
    assert model.fork_safe, "the library serves it"
    return model


def edges(estimator, seed):
    """Rows whose values are thresholds of trees, where a `<` for a `<=` shows."""
    last = estimator[-1] if hasattr(estimator, "steps") else estimator
    found = [0.0]
    if hasattr(last, "_predictors"):
        found = np.concatenate([one.nodes["num_threshold"] for some in last._predictors for one in some])
    elif hasattr(last, "estimators_"):
        found = np.concatenate([one.tree_.threshold for one in np.ravel(last.estimators_)])
    found = np.asarray(found)[np.isfinite(found)]
    return np.random.default_rng(seed).choice(found, size=(64, WIDTH))


@pytest.mark.parametrize(("estimator", "classes"), CLASSIFIERS.values(), ids=CLASSIFIERS.keys())
def test_classifier_must_say_what_the_library_says(estimator, classes):
    """Labels are equal and probabilities to 1e-12, in a batch and row by row, at thresholds too."""
    estimator = fitted(estimator, classes, labels=NAMES[:classes])
    model = the_fast_way(estimator)
    assert model.feature_dim == WIDTH
    for batch in (rows(), rows(1), rows(300, scale=0.5), edges(estimator, 1), edges(estimator, 2)):
        columns = model.predict(batch).columns
        assert list(columns) == ["predicted_label", "probabilities"]
        assert columns["predicted_label"].tolist() == estimator.predict(batch).tolist()
        np.testing.assert_allclose(columns["probabilities"], estimator.predict_proba(batch), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("estimator", "classes"), WITHOUT_PROBABILITIES.values(), ids=WITHOUT_PROBABILITIES.keys())
def test_classifier_without_probabilities_must_show_its_scores(estimator, classes):
    """Where there are no probabilities, raw scores stand beside the label."""
    estimator = fitted(estimator, classes)
    columns = the_fast_way(estimator).predict(rows()).columns
    assert list(columns) == ["predicted_label", "raw_scores"]
    assert columns["predicted_label"].tolist() == estimator.predict(rows()).tolist()
    expected = estimator.decision_function(rows())
    np.testing.assert_allclose(columns["raw_scores"], expected.reshape(len(expected), -1), rtol=1e-12)


@pytest.mark.parametrize("estimator", REGRESSORS.values(), ids=REGRESSORS.keys())
def test_regressor_must_say_what_the_library_says(estimator):
    """One column, score, equal to 1e-12."""
    estimator = fitted(estimator, 0)
    model = the_fast_way(estimator)
    for batch in (rows(), rows(1), edges(estimator, 1)):
        columns = model.predict(batch).columns
        assert list(columns) == ["score"]
        np.testing.assert_allclose(columns["score"], estimator.predict(batch), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(("estimator", "classes"), BY_THE_LIBRARY.values(), ids=BY_THE_LIBRARY.keys())
def test_estimator_that_is_not_known_must_be_served_by_the_library(estimator, classes):
    """Nothing is guessed: what has no fast way takes the library's, and may have threads behind it."""
    features, target = data(classes)
    features = features.copy()
    features[:, 0] = features[:, 0] > 0
    estimator = estimator.fit(features, target)
    model = estimator_model(estimator, settings=LoadingSettings())
    assert not model.fork_safe
    assert model.predict(features).columns["predicted_label"].tolist() == estimator.predict(features).tolist()


@given(Rows)
@settings(max_examples=30, deadline=None)
def test_fast_way_must_agree_on_any_rows(batch):
    """Whatever the rows: the same label and the same probability."""
    for estimator, model in some_models():
        columns = model.predict(batch).columns
        assert columns["predicted_label"].tolist() == estimator.predict(batch).tolist()
        np.testing.assert_allclose(columns["probabilities"], estimator.predict_proba(batch), rtol=1e-11, atol=1e-15)


def some_models(cache=[]):  # noqa: B006 – fitted once
    if not cache:
        for estimator in (
            make_pipeline(StandardScaler(), LogisticRegression()),
            HistGradientBoostingClassifier(max_iter=10),
            GradientBoostingClassifier(n_estimators=10),
            RandomForestClassifier(n_estimators=3, random_state=1),
        ):
            cache.append((fitted(estimator), the_fast_way(fitted(estimator))))
    return cache


@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.floats(-1e6, 1e6), min_size=WIDTH, max_size=WIDTH),
    st.floats(-1e3, 1e3),
    st.lists(st.floats(1e-3, 1e3), min_size=WIDTH, max_size=WIDTH),
)
@settings(max_examples=40, deadline=None)
def test_linear_way_must_agree_for_any_numbers(seed, coefficients, intercept, scale):
    """Whatever the coefficients, the answer is the library's to the last bit."""
    estimator = fitted(make_pipeline(StandardScaler(), LogisticRegression()))
    estimator[0].scale_ = np.array(scale)
    estimator[1].coef_, estimator[1].intercept_ = np.array([coefficients]), np.array([intercept])
    batch = rows(seed=seed)
    columns = the_fast_way(estimator).predict(batch).columns
    assert columns["predicted_label"].tolist() == estimator.predict(batch).tolist()
    assert columns["probabilities"].tolist() == estimator.predict_proba(batch).tolist()


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(2, 90))
@settings(max_examples=15, deadline=None)
def test_forest_must_find_the_leaf_of_any_tree(seed, count, leaves):
    """Few leaves (bit masks) or many (steps): every row ends where the library's tree says."""
    features, target = data(0, seed=seed % 5)
    members = [
        DecisionTreeRegressor(max_leaf_nodes=leaves, random_state=seed % 1000 + number).fit(
            features, target * (number + 1)
        )
        for number in range(count)
    ]
    from sagebrush_server.models.ensembles import _read

    forest = trees.Forest([_read(one.tree_) for one in members], dtype=np.float32)
    assert type(forest.leaves) is (trees._Masks if leaves <= 64 else trees._Steps)
    batch = np.concatenate([rows(seed=seed), features[:20]])
    values = forest.values(batch)[:, :, 0]
    np.testing.assert_array_equal(values, np.stack([one.predict(batch) for one in members], axis=1))


def test_forest_must_take_many_rows_in_pieces(monkeypatch):
    """The arrays between are bounded, whatever the number of rows, and nothing changes at the seams."""
    model = the_fast_way(fitted(GradientBoostingRegressor(n_estimators=10)))
    expected = model.predict(rows(50)).columns["score"].tolist()
    monkeypatch.setattr(trees, "_CELLS", 200)
    assert model.predict(rows(50)).columns["score"].tolist() == expected


@pytest.mark.parametrize(
    "estimator",
    [
        GradientBoostingClassifier(n_estimators=2, init="zero"),
        HistGradientBoostingClassifier(max_iter=2),
        SGDClassifier(),
    ],
    ids=["boosting", "histogram", "linear"],
)
def test_score_of_exactly_zero_must_be_the_librarys_class(estimator):
    """Whether 0 is the first class or the second is each library's own rule."""
    estimator = estimator.fit(np.zeros((20, WIDTH)), [0, 1] * 10)
    if isinstance(estimator, SGDClassifier):
        estimator.coef_, estimator.intercept_ = np.zeros((1, WIDTH)), np.zeros(1)
    assert not estimator.decision_function(rows(2)).any()
    columns = the_fast_way(estimator).predict(rows(2)).columns
    assert columns["predicted_label"].tolist() == estimator.predict(rows(2)).tolist()


def test_forest_of_one_leaf_must_be_served():
    """A tree that learnt nothing has no node to compare."""
    estimator = GradientBoostingRegressor(n_estimators=3).fit(data(0)[0], np.full(200, 2.5))
    assert the_fast_way(estimator).predict(rows(2)).columns["score"].tolist() == [2.5, 2.5]


def test_value_beyond_float32_must_be_refused_by_row():
    """scikit-learn's trees compare in float32: what doesn't fit is no infinity."""
    model = the_fast_way(fitted(RandomForestRegressor(n_estimators=2), 0))
    batch = rows(3)
    batch[1, 2] = 1e300
    with pytest.raises(RowError, match="too large for the model, which compares in float32") as refused:
        model.predict(batch)
    assert refused.value.row == 1


def test_score_that_is_not_finite_must_be_refused_by_row():
    """JSON has no infinity; the row is named."""
    estimator = fitted(LinearRegression(), 0)
    model = the_fast_way(estimator)
    batch = rows(3)
    batch[2] = 1.7e308 * np.sign(estimator.coef_)
    with pytest.raises(RowError, match="no finite score") as refused:
        model.predict(batch)
    assert refused.value.row == 2


def test_fast_way_that_differs_must_not_be_taken(monkeypatch, caplog):
    """A version of the library that keeps its numbers elsewhere is noticed when the model is loaded."""
    monkeypatch.setattr(scikit_learn, "linear_regressor", lambda _: lambda batch: batch[:, 0])
    estimator = fitted(LinearRegression(), 0)
    with caplog.at_level(logging.WARNING):
        model = estimator_model(estimator, settings=LoadingSettings())
    assert "differs from the library" in caplog.text
    assert model.predict(rows()).columns["score"].tolist() == estimator.predict(rows()).tolist()


def test_class_derived_from_the_librarys_must_be_asked_itself():
    """Somebody's own predict is not what its numbers say."""

    class Shifted(LinearRegression):
        def predict(self, batch):
            return super().predict(batch) + 1

    estimator = fitted(Shifted(), 0)
    model = estimator_model(estimator, settings=LoadingSettings())
    assert model.predict(rows()).columns["score"].tolist() == estimator.predict(rows()).tolist()


OUTPUTS = {
    "predicted_label": lambda e, b: e.predict(b),
    "labels": lambda e, b: np.tile(e.classes_, (len(b), 1)),
    "probability": lambda e, b: e.predict_proba(b)[:, 1],
    "probabilities": lambda e, b: e.predict_proba(b),
    "raw_score": lambda e, b: e.decision_function(b),
    "raw_scores": lambda e, b: e.decision_function(b)[:, None],
}


@pytest.mark.parametrize("fast", [True, False])
def test_outputs_must_be_those_that_are_selected_in_their_order(fast):
    """SAGEMAKER_INFERENCE_OUTPUT selects as it does in SageMaker's XGBoost container."""
    estimator = fitted(
        LogisticRegression() if fast else make_pipeline(PolynomialFeatures(), LogisticRegression(max_iter=500))
    )
    names = list(reversed(OUTPUTS))
    model = estimator_model(estimator, settings=LoadingSettings(outputs=tuple(names)))
    columns = model.predict(rows()).columns
    assert list(columns) == names
    for name, column in columns.items():
        np.testing.assert_allclose(column, OUTPUTS[name](estimator, rows()), rtol=1e-12)


def test_probability_of_three_must_be_that_of_the_predicted():
    """Of more than two classes the winner's."""
    estimator = fitted(LogisticRegression(), 3)
    model = estimator_model(estimator, settings=LoadingSettings(outputs=("probability", "raw_score")))
    columns = model.predict(rows()).columns
    np.testing.assert_allclose(columns["probability"], estimator.predict_proba(rows()).max(axis=1))
    np.testing.assert_allclose(columns["raw_score"], estimator.decision_function(rows()).max(axis=1))


@pytest.mark.parametrize(
    ("estimator", "classes", "outputs", "words"),
    [
        (LinearSVC(), 2, ("probability",), "this classifier has no probability"),
        (KNeighborsClassifier(), 2, ("raw_scores",), "this classifier has no raw_scores"),
        (LinearRegression(), 0, ("probabilities",), "is no classifier and has no probabilities"),
        (LinearRegression(), 2, ("predicted_label",), "is no classifier and has no predicted_label"),
        (LogisticRegression(), 2, ("predicted_score",), "this classifier has no predicted_score"),
    ],
)
def test_output_that_the_model_lacks_must_be_refused(estimator, classes, outputs, words):
    """What can't be answered is refused when the model is loaded, not request by request."""
    with pytest.raises(ModelError, match=words):
        estimator_model(fitted(estimator, classes), settings=LoadingSettings(outputs=outputs))


def test_regressor_must_be_called_what_it_is_asked_for():
    """predicted_score is the name in SageMaker's container."""
    model = estimator_model(fitted(Ridge(), 0), settings=LoadingSettings(outputs=("predicted_score",)))
    assert list(model.predict(rows()).columns) == ["predicted_score"]


@pytest.mark.parametrize("stored", [PCA(), {"a": 1}, "text"])
def test_object_without_predict_must_be_refused(stored):
    """The message says what it is."""
    with pytest.raises(ModelError, match=rf"is a {type(stored).__name__}, which has no predict"):
        estimator_model(stored, settings=LoadingSettings())


def test_estimator_that_is_not_fitted_must_be_refused(tmp_path):
    """The self-test asks it before anybody else does."""
    estimator = LogisticRegression()
    estimator.n_features_in_ = WIDTH
    with pytest.raises(ModelError, match="can't score a row of 5 zeros: "):
        estimator_model(estimator, settings=LoadingSettings())


def test_model_that_knows_no_score_for_zeros_must_be_tested_with_ones():
    """A logarithm of zero is the row's fault, not the model's."""
    from sklearn.preprocessing import FunctionTransformer

    estimator = make_pipeline(FunctionTransformer(np.log), LinearRegression())
    estimator.fit(np.abs(data(0)[0]) + 1, data(0)[1])
    estimator[0].n_features_in_ = WIDTH
    model = estimator_model(estimator, settings=LoadingSettings())
    assert model.self_test_rows().tolist() == [[1.0] * WIDTH]
    model.check_self_test(model.predict(model.self_test_rows()))


def test_self_test_must_notice_another_answer():
    """What the library said when the model was loaded is what the server must say."""
    model = estimator_model(fitted(LinearRegression(), 0), settings=LoadingSettings())
    with pytest.raises(ValueError, match="score of the self-test row is"):
        model.check_self_test(model.predict(np.ones((1, WIDTH))))


def test_estimator_fitted_on_a_table_must_answer_rows_without_a_warning(tmp_path, recwarn):
    """Column names are not sent with every request."""
    import pandas as pd

    features, target = data()
    estimator = KNeighborsClassifier().fit(pd.DataFrame(features, columns=list("abcde")), target)
    model = pickled(estimator, tmp_path)
    assert model.predict(rows()).columns["predicted_label"].tolist() == estimator.predict(pd.DataFrame(rows(), columns=list("abcde"))).tolist()  # fmt: skip
    assert not [one for one in recwarn if "feature names" in str(one.message)]


def test_pickled_model_must_be_served_where_unpickling_is_allowed(tmp_path):
    """joblib's file with the allowance; the same model as in memory."""
    estimator = fitted(LogisticRegression())
    model = pickled(estimator, tmp_path, settings=UNPICKLING)
    assert model.algorithm == "scikit-learn LogisticRegression"
    assert model.predict(rows()).columns["predicted_label"].tolist() == estimator.predict(rows()).tolist()
    assert joblib.load(tmp_path / "model.joblib").coef_.tolist() == estimator.coef_.tolist()
