"""SageMaker's built-in algorithms: where their images are, and what they accept."""

import string
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagebrush.api.training_inputs import BuiltInAlgorithm
from sagebrush.core.plan import SpecError
from sagebrush.core.sagemaker import algorithms
from sagebrush.core.sagemaker.algorithms import ALGORITHMS, channel_problems, image_uri, problems
from sagebrush.core.sagemaker.algorithms.images import registries
from sagebrush.core.sagemaker.algorithms.tables import ValueType, table

ENOUGH: dict[str, dict[str, str]] = {
    "factorization-machines": {"feature_dim": "10", "num_factors": "4", "predictor_type": "regressor"},
    "kmeans": {"k": "3", "feature_dim": "10"},
    "knn": {"feature_dim": "10", "k": "5", "predictor_type": "classifier", "sample_size": "200"},
    "linear-learner": {"predictor_type": "binary_classifier"},
    "pca": {"feature_dim": "10", "num_components": "2", "mini_batch_size": "100"},
    "random-cut-forest": {"feature_dim": "10"},
    "xgboost": {"num_round": "50"},
}


def wrong(algorithm: str, **values: str) -> list[str]:
    return problems(algorithm, ENOUGH[algorithm] | values)


@pytest.mark.parametrize(
    ("algorithm", "region", "version", "expected"),
    [
        ("linear-learner", "us-east-1", None, "382416733822.dkr.ecr.us-east-1.amazonaws.com/linear-learner:1"),
        ("random-cut-forest", "eu-west-1", "1", "438346466558.dkr.ecr.eu-west-1.amazonaws.com/randomcutforest:1"),
        ("kmeans", "cn-north-1", None, "390948362332.dkr.ecr.cn-north-1.amazonaws.com.cn/kmeans:1"),
        ("pca", "us-gov-west-1", None, "226302683700.dkr.ecr.us-gov-west-1.amazonaws.com/pca:1"),
        ("knn", "us-iso-east-1", None, "490574956308.dkr.ecr.us-iso-east-1.c2s.ic.gov/knn:1"),
        ("knn", "us-isob-east-1", None, "765400339828.dkr.ecr.us-isob-east-1.sc2s.sgov.gov/knn:1"),
        ("knn", "us-isof-south-1", None, "124985052026.dkr.ecr.us-isof-south-1.csp.hci.ic.gov/knn:1"),
        ("xgboost", "us-east-1", "1", "811284229777.dkr.ecr.us-east-1.amazonaws.com/xgboost:1"),
        (
            "xgboost",
            "eu-central-1",
            "0.90-2",
            "492215442770.dkr.ecr.eu-central-1.amazonaws.com/sagemaker-xgboost:0.90-2-cpu-py3",
        ),
        (
            "xgboost",
            "eu-central-1",
            "1.7-1",
            "492215442770.dkr.ecr.eu-central-1.amazonaws.com/sagemaker-xgboost:1.7-1",
        ),
        ("xgboost", "us-west-2", None, "246618743249.dkr.ecr.us-west-2.amazonaws.com/sagemaker-xgboost:3.0-5"),
    ],
)
def test_image_must_be_the_one_of_its_region(algorithm: str, region: str, version: str | None, expected: str) -> None:
    """Account, domain, repository and tag are those that SageMaker's own SDK answers."""
    assert expected == image_uri(algorithm, region=region, version=version)


def test_account_ids_must_be_account_ids() -> None:
    """Every account is twelve digits, and every image has an owner with an account somewhere."""
    known = registries()
    accounts = [account for owners in known.accounts.values() for account in owners.values()]
    assert [] == [account for account in accounts if not (account.isdecimal() and len(account) == 12)]
    owners = {image.owner for versions in known.images.values() for image in versions.values()}
    assert owners == {owner for row in known.accounts.values() for owner in row}


@pytest.mark.parametrize(
    ("algorithm", "region", "version", "field", "legal"),
    [
        ("linear-learner", "mars-north-1", None, "spec.sageMaker.region", "us-west-2"),
        ("linear-learner", "", None, "spec.sageMaker.region", "spec.algorithm.image"),
        ("xgboost", "ca-west-1", "1", "spec.sageMaker.region", "ca-central-1"),
        ("linear-learner", "us-east-1", "2", "spec.algorithm.version", "one of 1"),
        ("xgboost", "us-east-1", "latest", "spec.algorithm.version", "3.0-5"),
        ("deepar", "us-east-1", None, "spec.algorithm.name", "linear-learner"),
    ],
)
def test_image_must_refuse_what_it_does_not_know(
    algorithm: str, region: str, version: str | None, field: str, legal: str
) -> None:
    """The message names the field and what is legal."""
    with pytest.raises(SpecError) as caught:
        image_uri(algorithm, region=region, version=version)
    assert str(caught.value).startswith(f"{field}: ")
    assert legal in str(caught.value)


def test_regions_must_not_promise_what_is_missing() -> None:
    """The regions that a refusal lists are regions that work."""
    known = registries()
    for algorithm, versions in known.images.items():
        for version, image in versions.items():
            assert [] == [
                region
                for region in known.regions(image.owner)
                if not image_uri(algorithm, region=region, version=version).endswith(f"/{image.repository}:{image.tag}")
            ]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_required_hyperparameters_must_be_enough(algorithm: str) -> None:
    """The required ones alone start a job, and each one that is left out is named."""
    enough = ENOUGH[algorithm]
    assert [] == problems(algorithm, enough)
    for name in enough:
        left = problems(algorithm, {key: value for key, value in enough.items() if key != name})
        assert [True] == [said.startswith(f"spec.hyperParameters.{name} is required: ") for said in left]


@pytest.mark.parametrize(
    ("algorithm", "values", "expected"),
    [
        ("linear-learner", {"epochs": "0"}, "epochs: 0 is not an integer of at least 1"),
        ("linear-learner", {"epochs": "1.5"}, "epochs: 1.5 is not an integer of at least 1"),
        ("linear-learner", {"epochs": " "}, "epochs: an empty value is not an integer of at least 1"),
        ("linear-learner", {"num_models": "some"}, "num_models: some is not an integer of at least 1 or auto"),
        ("linear-learner", {"quantile": "1"}, "quantile: 1 is not a number above 0 and below 1"),
        ("linear-learner", {"momentum": "-0.1"}, "momentum: -0.1 is not a number of at least 0 and below 1 or auto"),
        ("linear-learner", {"init_bias": "nan"}, "init_bias: nan is not a number"),
        ("linear-learner", {"wd": "1e999"}, "wd: 1e999 is not a number of at least 0 or auto"),
        (
            "linear-learner",
            {"positive_example_weight_mult": "heavy"},
            "positive_example_weight_mult: heavy is not a number above 0 or auto or balanced",
        ),
        ("linear-learner", {"use_bias": "auto"}, "use_bias: auto is not one of true, false"),
        (
            "linear-learner",
            {"predictor_type": "classifier"},
            "predictor_type: classifier is not one of binary_classifier, multiclass_classifier, regressor",
        ),
        (
            "linear-learner",
            {"predictor_type": "multiclass_classifier"},
            "num_classes is required with predictor_type multiclass_classifier: an integer from 3 to 1000000",
        ),
        (
            "linear-learner",
            {"predictor_type": "multiclass_classifier", "num_classes": "2"},
            "num_classes: 2 is not an integer from 3 to 1000000 with predictor_type multiclass_classifier",
        ),
        ("linear-learner", {"epoch": "3"}, "epoch: linear-learner has no such hyperparameter; did you mean epochs?"),
        (
            "kmeans",
            {"zzz": "3"},
            "zzz: kmeans has no such hyperparameter; see https://docs.aws.amazon.com/sagemaker/latest/dg/k-means-api-config.html",
        ),
        ("random-cut-forest", {"num_trees": "1001"}, "num_trees: 1001 is not an integer from 50 to 1000"),
        ("random-cut-forest", {"feature_dim": "auto"}, "feature_dim: auto is not an integer from 1 to 10000"),
        (
            "knn",
            {"dimension_reduction_type": "fjlt"},
            "dimension_reduction_target is required with dimension_reduction_type sign or fjlt: an integer of at least 1",
        ),
        (
            "knn",
            {"index_type": "faiss.IVFPQ", "index_metric": "COSINE"},
            "index_metric: COSINE is not L2 with index_type faiss.IVFPQ",
        ),
        (
            "xgboost",
            {"objective": "multi:softprob"},
            "num_class is required with objective multi:softmax or multi:softprob: an integer of at least 2",
        ),
        ("xgboost", {"eta": "1.5"}, "eta: 1.5 is not a number from 0 to 1"),
        ("xgboost", {"_kfold": "1"}, "_kfold: 1 is not an integer of at least 2"),
    ],
)
def test_problems_must_say_what_is_wrong(algorithm: str, values: Mapping[str, str], expected: str) -> None:
    """One sentence names the field, the value and what would be legal."""
    assert [f"spec.hyperParameters.{expected}"] == wrong(algorithm, **values)


@pytest.mark.parametrize(
    ("algorithm", "values"),
    [
        ("linear-learner", {"feature_dim": "auto", "num_models": "auto", "learning_rate": "auto"}),
        ("linear-learner", {"positive_example_weight_mult": "balanced", "use_bias": "True", "unbias_data": "auto"}),
        ("linear-learner", {"learning_rate": "1e-3", "l1": ".5", "wd": "1.", "init_bias": "-2"}),
        ("linear-learner", {"num_classes": "1"}),
        ("linear-learner", {"predictor_type": "multiclass_classifier", "num_classes": "3"}),
        ("linear-learner", {"_tuning_objective_metric": "test:accuracy", "_num_gpus": "auto"}),
        ("kmeans", {"force_dense": "True", "eval_metrics": '["msd", "ssd"]', "sagemaker_program": "x"}),
        ("pca", {"extra_components": "-1"}),
        ("random-cut-forest", {"mini_batch_size": "1000", "eval_metrics": '["accuracy"]'}),
        ("knn", {"index_type": "faiss.IVFFlat", "index_metric": "COSINE", "faiss_index_ivf_nlists": "auto"}),
        ("xgboost", {"device": "cuda", "multi_strategy": "multi_output_tree", "max_dept": "3"}),
        ("xgboost", {"objective": "reg:absoluteerror", "learning_rate": "0.1", "seed": "-1"}),
    ],
)
def test_problems_must_let_through_what_sagemaker_takes(algorithm: str, values: Mapping[str, str]) -> None:
    """Values that AWS documents, reserved names, and news in xgboost are no problems."""
    assert [] == wrong(algorithm, **values)


def test_problems_must_shorten_long_values() -> None:
    """A condition's message stays readable whatever the user pasted."""
    expected = f"spec.hyperParameters.epochs: {'9' * 39}x… is not an integer of at least 1"
    assert [expected] == wrong("linear-learner", epochs="9" * 39 + "x" * 2000)


@pytest.mark.parametrize("ask", [lambda: problems("deepar", {}), lambda: channel_problems("deepar", ["train"], {})])
def test_unknown_algorithm_must_be_refused(ask: Callable[[], object]) -> None:
    """An algorithm that isn't built in has no rules, so nothing can be called fine."""
    with pytest.raises(SpecError, match=r"^spec\.algorithm\.name: deepar is not one of factorization-machines, "):
        ask()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_table_must_be_consistent(algorithm: str) -> None:
    """Only categorical rules list choices, conditions speak of known names and legal values, ranges aren't empty."""
    known = table(algorithm)
    rules = {rule.name: rule for rule in reversed(known.rules)}
    for rule in known.rules:
        assert (rule.type is ValueType.CATEGORICAL) == bool(rule.choices)
        assert rule.minimum is None or rule.maximum is None or rule.minimum < rule.maximum
        for name, legal in rule.when.items():
            assert rules[name].type is ValueType.TEXT or set(legal) <= set(rules[name].choices)
    assert ["train"] == [channel.name for channel in known.channels if channel.required]


@pytest.mark.parametrize(
    ("algorithm", "names", "distributions", "expected"),
    [
        ("linear-learner", ["train", "validation"], {}, []),
        ("linear-learner", [], {}, ["spec.channels: linear-learner needs a channel called train"]),
        (
            "kmeans",
            ["training"],
            {},
            ["spec.channels: kmeans needs a channel called train; did you mean training to be it?"],
        ),
        ("xgboost", ["train", "code"], {"train": "ShardedByS3Key"}, []),
        ("random-cut-forest", ["train"], {"train": "ShardedByS3Key"}, []),
        (
            "random-cut-forest",
            ["train"],
            {},
            [
                "spec.channels[train].distribution: random-cut-forest reads this channel as ShardedByS3Key only, not FullyReplicated"
            ],
        ),
        (
            "random-cut-forest",
            ["train", "test"],
            {"train": "ShardedByS3Key", "test": "ShardedByS3Key"},
            [
                "spec.channels[test].distribution: random-cut-forest reads this channel as FullyReplicated only, not ShardedByS3Key"
            ],
        ),
    ],
)
def test_channels_must_fit_the_algorithm(
    algorithm: str, names: list[str], distributions: dict[str, str], expected: list[str]
) -> None:
    """A missing train channel and a distribution that the algorithm can't read are told before the job starts."""
    assert expected == channel_problems(algorithm, names, distributions)


def test_algorithms_must_be_those_of_the_api() -> None:
    """A name that the schema takes has rules and images, and no other."""
    assert sorted(BuiltInAlgorithm) == sorted(ALGORITHMS)


def test_tables_must_be_packaged() -> None:
    """Every algorithm's table lies in the package, where the wheel takes it along."""
    package = resources.files(algorithms)
    assert list(ALGORITHMS) == sorted(Path(str(entry)).stem for entry in package.joinpath("data").iterdir())
    assert list(ALGORITHMS) == sorted(registries().images)


LETTERS = string.ascii_letters + string.digits + string.punctuation + "é中"
TEXTS = st.one_of(
    st.text(LETTERS, max_size=12), st.from_regex(r"-?[0-9]{1,5}(\.[0-9]{1,3})?(e-?[0-9]{1,3})?", fullmatch=True)
)
ANY_NAMES = st.one_of(
    st.sampled_from(sorted({rule.name for algorithm in ALGORITHMS for rule in table(algorithm).rules})),
    st.text(LETTERS, max_size=10),
)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(ALGORITHMS), st.dictionaries(ANY_NAMES, TEXTS, max_size=6))
def test_problems_must_be_sentences_about_fields(algorithm: str, values: dict[str, str]) -> None:
    """Whatever users write, each field is spoken of once at most, and the order of writing doesn't matter."""
    found = problems(algorithm, values)
    assert [] == [said for said in found if not said.startswith("spec.hyperParameters.")]
    assert len(set(found)) == len(found)
    assert found == problems(algorithm, dict(reversed(values.items())))


@settings(max_examples=40, deadline=None)
@given(st.integers(-(10**9), 10**9))
def test_range_must_hold_both_of_its_ends(number: int) -> None:
    """A closed range is fine exactly between its ends."""
    assert (50 <= number <= 1000) == ([] == wrong("random-cut-forest", num_trees=str(number)))


@settings(max_examples=40, deadline=None)
@given(st.floats(-2, 2))
def test_open_range_must_leave_out_its_ends(number: float) -> None:
    """An open range is fine strictly between its ends, however the number is written."""
    assert (0 < number < 1) == ([] == wrong("linear-learner", target_recall=repr(number)))
