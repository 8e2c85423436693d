"""Linear learner's hyperparameters: SageMaker's names, honoured or refused."""

import pytest

from sagebrush_server.algorithms.linear_learner.hyperparameters import TABLE, read
from sagebrush_server.errors import ClientError

BINARY = {"predictor_type": "binary_classifier"}


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_hyperparameter_must_refuse_nonsense_with_name_value_and_range(row):
    """Every hyperparameter's refusal names it, the value given, and what is legal."""
    with pytest.raises(ClientError) as caught:
        read({**BINARY, row.name: "nonsense"})
    assert f"hyperparameter {row.name}='nonsense': must be {row.legal}" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("epochs", "0", "a whole number of at least 1"),
        ("epochs", "1.5", "a whole number of at least 1"),
        ("learning_rate", "0", "auto or a number above 0"),
        ("learning_rate", "nan", "above 0"),
        ("l1", "-1", "at least 0"),
        ("target_recall", "1.1", "above 0 and below 1"),
        ("use_bias", "yes", "true or false"),
        ("feature_dim", "0", "at least 1"),
        ("momentum", "0.9", "has an effect only with optimizer=sgd"),
        ("quantile", "0.9", "has an effect only with loss=quantile_loss"),
        ("target_recall", "0.9", "only with binary_classifier_model_selection_criteria=precision_at_target_recall"),
        ("init_sigma", "0.5", "only with init_method=normal"),
        ("accuracy_top_k", "5", "only with predictor_type=multiclass_classifier"),
        ("num_classes", "3", "belongs to predictor_type=multiclass_classifier"),
        ("loss", "huber_loss", "for predictor_type=binary_classifier it must be one of auto, logistic, hinge_loss"),
        ("balance_multiclass_weights", "true", "has an effect only with predictor_type=multiclass_classifier"),
        ("epoch", "3", "unknown hyperparameter epoch; there are: accuracy_top_k"),
    ],
)
def test_hyperparameter_must_be_honoured_or_refused(name, value, says):
    """What is out of range, unknown, without effect, or beyond this version is refused with the reason."""
    with pytest.raises(ClientError, match="hyperparameter") as caught:
        read({**BINARY, name: value})
    assert says in str(caught.value)


def test_hyperparameters_must_have_sagemakers_defaults_and_understand_the_sdks_quotes():
    """Unset ones have SageMaker's defaults; the SDK's JSON-encoded strings mean the same as plain ones."""
    values = read({"predictor_type": '"binary_classifier"', "epochs": "7", "use_bias": "True", "l1": 0.5})
    assert (values["predictor_type"], values["epochs"], values["use_bias"], values["l1"]) == (
        "binary_classifier",
        7,
        True,
        0.5,
    )
    assert (values["mini_batch_size"], values["early_stopping_tolerance"], values["wd"]) == (1000, 0.001, "auto")
    with pytest.raises(ClientError, match="predictor_type is required"):
        read({})
