"""What values.schema.json takes and refuses: a mistake is named before anything reaches the cluster."""

import json
from typing import Any

import pytest
import yaml

REFUSED = {
    "a key that doesn't exist": ("replicas=2", "replicas"),
    "a typo in a section": ("prometheus.ulr=http://x", "ulr"),
    "a typo in an image": ("image.pullpolicy=Always", "pullpolicy"),
    "a typo in a monitor": ("monitoring.podMonitor.enable=true", "enable"),
    "a pull policy of no kind": ("image.pullPolicy=Sometimes", "pullPolicy"),
    "the server's pull policy": ("serverImage.pullPolicy=always", "pullPolicy"),
    "an empty repository": ("image.repository=", "repository"),
    "a repository with a tag": ("image.repository=sagebrush/operator:1", "repository"),
    "a digest that is none": ("image.digest=latest", "digest"),
    "a port beyond the last": ("controller.httpPort=70000", "httpPort"),
    "a port for root only": ("controller.httpPort=80", "httpPort"),
    "a port in words": ("controller.httpPort=http", "httpPort"),
    "no workers": ("controller.workers=0", "workers"),
    "a resync in words": ("controller.resyncSeconds=10m", "resyncSeconds"),
    "no scaling interval": ("scaling.intervalSeconds=0", "intervalSeconds"),
    "pods read all the time": ("scaling.podsIntervalSeconds=0", "podsIntervalSeconds"),
    "a history longer than is read": ("scaling.historyDays=15", "historyDays"),
    "learning without a pause": ("scaling.calibrationHours=0", "calibrationHours"),
    "a dashboard's switch in words": ("dashboard.enabled=maybe", "enabled"),
    "a URL without a scheme": ("prometheus.url=prometheus:9090", "url"),
    "a namespace in capitals": ("watch.namespaces={Team-A}", "namespaces"),
    "one namespace twice": ("watch.namespaces={a,a}", "namespaces"),
    "a string of namespaces": ("watch.namespaces=a", "namespaces"),
    "a log level of no kind": ("logging.level=verbose", "level"),
    "a log format of no kind": ("logging.format=xml", "format"),
    "a switch that is no switch": ("crds.install=maybe", "install"),
    "an interval without a unit": ("monitoring.podMonitor.interval=5", "interval"),
    "a label that is none": ("podLabels.team=a b", "podLabels"),
    "a quantity that is none": ("resources.limits.memory=lots", "memory"),
    "a pull secret by bare name": ("imagePullSecrets={registry}", "imagePullSecrets"),
    "a repository taken away": ("image.repository=null", "repository"),
    "a pull secret without a name": ("imagePullSecrets[0]={}", "imagePullSecrets"),
    "a variable without a name": ("extraEnv[0].value=x", "extraEnv"),
    "a toleration of no kind": ("tolerations[0].operator=Maybe", "tolerations"),
    "an affinity of no kind": ("affinity.nodes.x=y", "affinity"),
    "a typo for AWS": ("aws.regoin=us-east-1", "regoin"),
    "a region that is none": ("aws.region=frankfurt", "region"),
    "a role by its name": ("aws.credentials.roleArn=sagebrush", "roleArn"),
    "a namespace's role by its name": ("aws.namespaceRoles.team-a=sagebrush", "team-a"),
    "a namespace without a role": ("aws.namespaceRoles.team-a=", "team-a"),
    "a role of no namespace": ("aws.namespaceRoles.Team=arn:aws:iam::111122223333:role/x", "Team"),
    "a typo in the credentials": ("aws.credentials.secret=keys", "secret"),
    "no calls": ("aws.callsPerSecond=0", "callsPerSecond"),
    "a server image without a registry": ("aws.serverImage=model-server:1", "serverImage"),
    "a price in words": ("aws.prices.hosting.us-east-1.ml\\.m5\\.large=cheap", "hosting"),
    "a price below nothing": ("aws.prices.training.us-east-1.ml\\.m5\\.large=-1", "training"),
    "a price of no instance": ("aws.prices.hosting.us-east-1.m5=1", "m5"),
    "a price table without a date": ("aws.prices.asOf=", "asOf"),
}


@pytest.mark.parametrize(("setting", "named"), REFUSED.values(), ids=REFUSED.keys())
def test_schema_must_refuse(template, setting, named):
    """A value that can't be meant is refused by name."""
    done = template("--set", setting)
    assert done.returncode != 0
    assert "values don't meet the specifications of the schema" in done.stderr
    assert named in done.stderr


def test_schema_must_describe_every_value(chart):
    """The schema and values.yaml name the same settings, and every default keeps to the schema."""
    schema = json.loads((chart / "values.schema.json").read_text())

    def sections(node: dict[str, Any]) -> dict[str, Any] | None:
        if "$ref" in node:
            node = schema["definitions"][node["$ref"].removeprefix("#/definitions/")]
        return node.get("properties")

    def compare(node: dict[str, Any], values: dict[str, Any], where: str) -> None:
        properties = sections(node)
        if properties is None or where == "affinity":
            return
        assert properties.keys() - {"global"} == values.keys(), where
        for name, child in properties.items():
            if isinstance(values.get(name), dict):
                compare(child, values[name], name)

    compare(schema, yaml.safe_load((chart / "values.yaml").read_text()), "the root")


def test_every_value_must_be_documented(chart):
    """Each line of values.yaml that sets something has a comment above it, or belongs to a documented block."""
    lines = (chart / "values.yaml").read_text().splitlines()
    bare = []
    for number, line in enumerate(lines):
        is_key = line.strip() and not line.strip().startswith("#")
        opens_section = line.endswith(":")
        # Entries of resources and of the price table: what they are stands above the whole.
        in_block = any(word in line for word in ("cpu:", "memory:", " ml."))
        if is_key and not opens_section and not in_block and not lines[number - 1].strip().startswith("#"):
            bare.append(line)
    assert bare == []


def test_chart_must_work_as_a_subchart(render):
    """A parent chart's `global` values are let through."""
    assert render("--set", "global.anything.at=all")
