"""Settings, logs, training metrics, and the documentation of reasons."""

import argparse
import json
import logging
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from sagebrush.api.scaling import Scaling, ScalingTarget
from sagebrush.backends.training_log import final_metrics, patterns_of
from sagebrush.config import InvalidSettingsError, Settings, add_flags, settings_from
from sagebrush.core import conditions
from sagebrush.core.conditions import Reason
from sagebrush.core.plan import SpecError
from sagebrush.core.sagemaker.endpoint_variants import AWS_ENGINE
from sagebrush.core.scaling.compiled import compile_policy
from sagebrush.core.scaling.decision import ScalingReason
from sagebrush.core.variant_scaling import BOUND_REACHED, WITHIN_BOUNDS
from sagebrush.logs import JsonFormatter, TextFormatter
from sagebrush.metrics.exporter import OperatorMetrics
from tests.unit.operator.builders import job_spec

ROOT = Path(__file__).parents[3]


async def stream(*lines: str) -> AsyncIterator[str]:
    for line in lines:
        yield line


async def metrics(*lines: str, **algorithm: object) -> dict[str, float]:
    spec = job_spec(algorithm=algorithm or {"name": "linear-learner"})
    return {metric.name: metric.value for metric in await final_metrics(spec, stream(*lines))}


OWN = {"image": "m", "metricDefinitions": [{"name": "acc", "regex": "acc=([^ ]+)"}]}


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["acc=0.1", "noise", "acc=0.9 then"], {"acc": 0.9}),
        (["acc=0.5", "acc=nan", "acc=inf", "acc=high", "acc="], {"acc": 0.5}),
        (["acc=1e-3"], {"acc": 0.001}),
        (["x" * 1_000_000 + " acc=0.7"], {"acc": 0.7}),
        (["#quality_metric: host=algo-1, validation accuracy <score>=0.95"], {}),
        ([], {}),
    ],
)
async def test_metric_must_be_the_last_number(lines: list[str], expected: dict[str, float]) -> None:
    """The last match counts, as SageMaker's FinalMetricDataList; what is no number is passed over."""
    assert expected == await metrics(*lines, **OWN)


async def test_built_in_metrics_must_be_read() -> None:
    """Built-in algorithms bring their own metrics, with or without an epoch."""
    found = await metrics(
        "#quality_metric: host=algo-1, epoch=2, train loss <loss>=0.3",
        "#quality_metric: host=algo-1, validation binary_classification_accuracy <score>=0.95",
    )
    assert {"train:loss": 0.3, "validation:binary_classification_accuracy": 0.95} == found


@pytest.mark.parametrize(("regex", "words"), [("(a", r"missing \)"), ("abc", "has no group"), (r"(a)\1", "RE2")])
def test_bad_pattern_must_be_named(regex: str, words: str) -> None:
    """A pattern that can't work names its field and what is legal."""
    spec = job_spec(algorithm={"image": "m", "metricDefinitions": [{"name": "acc", "regex": regex}]})
    with pytest.raises(SpecError, match=rf"^spec\.algorithm\.metricDefinitions\[acc\]\.regex: (?!b['\"]).*{words}"):
        patterns_of(spec)


def chosen(*flags: str, **environment: str) -> Settings:
    parser = argparse.ArgumentParser()
    add_flags(parser)
    return settings_from(parser.parse_args(flags), environment)


def test_flags_must_beat_variables_and_these_defaults() -> None:
    """A flag counts before a variable, a variable before the default."""
    assert 16 == chosen().workers
    assert 8 == chosen(SAGEBRUSH_WORKERS="8").workers
    assert 2 == chosen("--workers", "2", SAGEBRUSH_WORKERS="8").workers
    assert ("a", "b") == chosen(SAGEBRUSH_NAMESPACES="a, b,").namespaces
    assert "op-0" == chosen(POD_NAME="op-0").pod_name
    assert "http://p:9090" == chosen("--prometheus-url", "http://p:9090/").prometheus_url


@pytest.mark.parametrize(
    ("flag", "variable", "value"),
    [
        ("--workers", "SAGEBRUSH_WORKERS", "0"),
        ("--workers", "SAGEBRUSH_WORKERS", "many"),
        ("--prometheus-url", "SAGEBRUSH_PROMETHEUS_URL", "p:9090"),
        ("--log-level", "SAGEBRUSH_LOG_LEVEL", "loud"),
        ("--leader-election", "SAGEBRUSH_LEADER_ELECTION", "perhaps"),
        ("--resync-seconds", "SAGEBRUSH_RESYNC_SECONDS", "1"),
        ("--http-port", "SAGEBRUSH_HTTP_PORT", "99999"),
    ],
)
def test_bad_setting_must_be_named(flag: str, variable: str, value: str) -> None:
    """An illegal value names flag and variable and what was given."""
    with pytest.raises(InvalidSettingsError, match=re.escape(f"{flag} / {variable}: ") + f".*{value}"):
        chosen(**{variable: value})


def record(**extra: object) -> logging.LogRecord:
    made = logging.makeLogRecord(
        {"name": "x", "levelno": 30, "levelname": "WARNING", "msg": "%s\nü", "args": ("a",), "created": 0.5}
    )
    vars(made).update(extra)
    return made


def test_credentials_must_not_be_told() -> None:
    """An address may carry a password: neither the settings printed at start nor the refusal of a bad one show it."""
    url = "prometheus.example:9090"
    good = settings_from(argparse.Namespace(), {"SAGEBRUSH_PROMETHEUS_URL": f"https://user:secret@{url}"})
    assert (f"https://{url}" in good.printable(), "secret" in good.printable()) == (True, False)
    assert "secret" in good.prometheus_url
    with pytest.raises(InvalidSettingsError) as caught:
        settings_from(argparse.Namespace(), {"SAGEBRUSH_PROMETHEUS_URL": f"user:secret@{url}"})
    assert (url in str(caught.value), "secret" in str(caught.value)) == (True, False)


def test_json_log_must_be_one_object_a_line() -> None:
    """Machines read one JSON object a line, with the object's key beside the words."""
    text = JsonFormatter().format(record(key="TrainingJob demo/kdd", unknown=object()))
    assert "\n" not in text
    assert {
        "time": "1970-01-01T00:00:00.500+00:00",
        "level": "warning",
        "logger": "x",
        "message": "a\nü",
        "key": "TrainingJob demo/kdd",
    } == json.loads(text)


def test_logs_must_carry_the_traceback() -> None:
    """A bug is found by its traceback, in either format."""
    error = KeyError("lost")
    made = record(exc_info=(type(error), error, None), key="k")
    assert "KeyError: 'lost'" in json.loads(JsonFormatter().format(made))["traceback"]
    assert "KeyError: 'lost'" in TextFormatter().format(made)
    assert "[k] a" in TextFormatter().format(made)


def test_every_reason_must_be_documented() -> None:
    """Reasons are API: each stands in docs/conditions.md with what it means and what to do."""
    text = (ROOT / "docs/conditions.md").read_text()
    rows = {match[1]: match[2] for match in re.finditer(r"^\| `(\w+)` \|(.+)$", text, re.MULTILINE)}
    kinds = [conditions.READY, conditions.RECONCILING, conditions.STALLED, conditions.SCALING_ACTIVE]
    kinds += [conditions.SCALING_LIMITED, conditions.SCALING_CONFLICT, conditions.BUDGET_UNATTAINABLE]
    wanted = {*map(str, Reason), *map(str, ScalingReason), AWS_ENGINE, BOUND_REACHED, WITHIN_BOUNDS, *kinds}
    assert wanted == set(rows)
    assert [] == [
        reason for reason, row in rows.items() if any(len(cell.strip()) < 10 for cell in row.strip("| ").split("|"))
    ]


def test_scaling_guide_must_name_every_field_metric_and_setting() -> None:
    """docs/scaling.md is where an owner looks: each field of spec.scaling, each metric and each setting of it stands there."""
    text = (ROOT / "docs/scaling.md").read_text()
    told = set(re.findall(r"[A-Za-z_]\w+", text)) | set(re.findall(r"--[a-z-]+", text))
    fields = {field.alias or name for name, field in Scaling.model_fields.items()} - {
        "engine",
        "applicationAutoScaling",
    }
    targets = {field.alias or name for name, field in ScalingTarget.model_fields.items()}
    flags = {f"--{name.replace('_', '-')}" for name in Settings.model_fields if name.startswith("scaling_")}
    metrics = {
        family.name if family.type != "counter" else f"{family.name}_total"
        for family in OperatorMetrics().registry.collect()
        if family.name.startswith(("sagebrush_scaler_", "sagebrush_endpoint_"))
    }
    assert len(metrics) > 10
    assert set() == (fields | targets | flags | metrics) - told
    assert "minReplicas: 0" in text


def test_scaling_guide_must_give_lines_that_work() -> None:
    """Each line of YAML in the guide's first table is a policy's, as it stands there."""
    text = (ROOT / "docs/scaling.md").read_text()
    table = text[text.index("| you want |") : text.index("`minReplicas: 0` is refused")]
    lines = [match[1] for match in re.finditer(r"^\| [^|]+ \| `([^`]+)`", table, re.MULTILINE)]
    assert len(lines) > 12
    for line in lines:
        policy = {"maxReplicas": 8, "target": {"latency": "500ms"}, **yaml.safe_load(line)}
        compile_policy(Scaling.model_validate(policy))
