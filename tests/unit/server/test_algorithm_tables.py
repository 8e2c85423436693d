"""The hyperparameter tables against what is documented: our pages in docs/algorithms, and SageMaker's ranges."""

import importlib
import json
import re
from pathlib import Path

import pytest

from sagebrush.api.training_inputs import BuiltInAlgorithm
from sagebrush_server.algorithms.registry import ALGORITHMS

ROOT = Path(__file__).parents[3]
PAGES = ROOT / "docs" / "algorithms"
SAGEMAKERS = ROOT / "operator" / "sagebrush" / "core" / "sagemaker" / "algorithms" / "data"
OURS = ("linear-learner", "xgboost", "kmeans", "pca", "random-cut-forest", "knn", "factorization-machines")


def table_of(algorithm):
    return importlib.import_module(f"sagebrush_server.algorithms.{algorithm.replace('-', '_')}.hyperparameters").TABLE


def shown(value):
    """A value as a manifest would have it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return json.dumps(list(value))
    return str(value)


def expected_rows(table):
    """The rows that a page's table must have."""
    for row in table:
        default = "required" if row.required else "–" if row.default is None else f"`{shown(row.default)}`"
        note = ""
        if row.only is not None:
            honoured = ", ".join(f"`{shown(value)}`" for value in row.only)
            note = f"; here only {honoured}: {row.because}" if honoured else f"; not offered: {row.because}"
        yield f"| `{row.name}` | {row.legal}{note} | {default} |"


@pytest.mark.parametrize("algorithm", OURS)
def test_each_page_must_have_the_algorithms_own_table(algorithm):
    """Name, legal values and default of every hyperparameter stand in the page as the code has them, and no others."""
    page = (PAGES / f"{algorithm}.md").read_text()
    found = [line for line in page.splitlines() if re.match(r"\| `[a-z0-9_]+` \|", line)]
    assert found == list(expected_rows(table_of(algorithm)))


@pytest.mark.parametrize("algorithm", OURS)
def test_the_names_must_be_sagemakers(algorithm):
    """What AWS documents for an algorithm is known here, required where it is required there, and nothing is added."""
    documented = json.loads((SAGEMAKERS / f"{algorithm}.json").read_text())["hyperparameters"]
    table = {row.name: row for row in table_of(algorithm)}
    assert set(table) == {rule["name"] for rule in documented}
    always = {rule["name"] for rule in documented if rule.get("required") and not rule.get("when")}
    assert {name for name, row in table.items() if row.required} == always


@pytest.mark.parametrize("algorithm", OURS)
def test_the_limits_must_be_sagemakers(algorithm):
    """The ends of AWS' ranges and all its words are legal here; the numbers just outside are not."""
    for rule in json.loads((SAGEMAKERS / f"{algorithm}.json").read_text())["hyperparameters"]:
        if "when" in rule:
            continue  # what holds in certain cases only, the algorithm checks after reading all of them
        row = next(row for row in table_of(algorithm) if row.name == rule["name"])
        for word in (*rule.get("choices", ()), *rule.get("words", ())):
            row.parse(word)
        step = 1 if rule["type"] == "integer" else 1e-6
        for end, outside in (("minimum", -step), ("maximum", step)):
            if end in rule and row.name != "faiss_index_pq_m":
                row.parse(str(rule[end]))
                with pytest.raises(ValueError):  # noqa: PT011 – int() and float() have words of their own
                    row.parse(str(rule[end] + outside))


@pytest.mark.parametrize("algorithm", OURS)
def test_defaults_must_be_legal(algorithm):
    """A default, written as a manifest would, is read as itself."""
    for row in table_of(algorithm):
        if not row.required and row.default is not None:
            assert row.read(shown(row.default)) == row.default, row.name


def test_the_operator_must_offer_what_the_image_has():
    """spec.algorithm.name lists the algorithms that the model-server image can train and serve."""
    assert {algorithm.value for algorithm in BuiltInAlgorithm} == set(ALGORITHMS)
