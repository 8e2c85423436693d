"""docs/sagemaker.md against what it describes."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from sagebrush.api.sagemaker_hosting import SageMakerHosting
from sagebrush.api.sagemaker_training import SageMakerTraining
from sagebrush.core.conditions import Reason
from sagebrush.core.sagemaker.identity import FINALIZER

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs/sagemaker.md").read_text()


@pytest.mark.parametrize("model", [SageMakerTraining, SageMakerHosting])
def test_every_field_must_be_documented(model: type[Any]) -> None:
    """Each field of spec.sageMaker stands in the tables, by the name that a manifest has."""
    tables = "\n".join(re.findall(r"^\|.*$", TEXT, re.MULTILINE))
    names = {field.alias for field in model.model_fields.values()}
    assert [] == sorted(name for name in names if not re.search(rf"`{name}[.`]", tables))


def test_quoted_reasons_must_exist() -> None:
    """The table of errors names reasons that the conditions have."""
    rows = TEXT.partition("## When AWS says no")[2].partition("\n## ")[0]
    quoted = set(re.findall(r"`([A-Z][A-Za-z]+)`(?=[^|]*\|[^|]*\|[^|]*\|$)", rows, re.MULTILINE))
    assert quoted
    assert quoted <= set(map(str, Reason))
    assert f"`{FINALIZER}`" in TEXT


def test_quoted_values_must_exist() -> None:
    """Each value of the chart that the text names is one."""
    values = yaml.safe_load((ROOT / "charts/sagebrush/values.yaml").read_text())
    quoted = set(re.findall(r"(?<![/.])\b((?:aws|controller)\.(?!amazon)[a-z][A-Za-z.]+[A-Za-z])", TEXT))
    assert {"aws.region", "aws.credentials.roleArn", "aws.prices"} <= quoted
    missing = []
    for path in sorted(quoted):
        at: Any = values
        for part in path.removesuffix(".team").split("."):
            at = at.get(part) if isinstance(at, dict) else None
        if at is None:
            missing.append(path)
    assert [] == missing


def test_blocks_must_parse() -> None:
    """What is to be copied as YAML or JSON can be read."""
    blocks = re.findall(r"^```(yaml|json)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 3
    for kind, block in blocks:
        assert yaml.safe_load(block) if kind == "yaml" else json.loads(block)


def test_every_section_must_be_found() -> None:
    """Links from other pages end at a heading that is there."""
    headings = {
        re.sub(r"[^a-z0-9 -]", "", line.lower()).replace(" ", "-")
        for line in re.findall(r"^#+ (.+)$", TEXT, re.MULTILINE)
    }
    pages = [*(ROOT / "docs").glob("*.md"), ROOT / "README.md"]
    anchors = {anchor for page in pages for anchor in re.findall(r"sagemaker\.md#([a-z0-9-]+)", page.read_text())}
    assert anchors
    assert anchors <= headings
