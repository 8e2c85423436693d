"""What the chart sets up for backend SageMaker: an identity in AWS, and the price table."""

from typing import Any

import pytest
import yaml

ROLE = "arn:aws:iam::111122223333:role/sagebrush"
IRSA = r"serviceAccount.annotations.eks\.amazonaws\.com/role-arn=" + ROLE


def the(kind: str, objects: list[dict[str, Any]]) -> dict[str, Any]:
    (found,) = (each for each in objects if each["kind"] == kind)
    return found


def operator(objects: list[dict[str, Any]]) -> dict[str, Any]:
    container: dict[str, Any] = the("Deployment", objects)["spec"]["template"]["spec"]["containers"][0]
    return container


def test_no_identity_must_leave_it_to_the_pod(render):
    """By default nothing about AWS is claimed: no annotation, no Secret."""
    objects = render()
    assert "annotations" not in the("ServiceAccount", objects)["metadata"]
    assert "envFrom" not in operator(objects)


def test_role_arn_must_annotate_the_service_account(render):
    """IRSA is two annotations beside the user's own: the role, and STS of the region."""
    objects = render(f"--set=aws.credentials.roleArn={ROLE}", "--set=serviceAccount.annotations.mine=yes")
    assert the("ServiceAccount", objects)["metadata"]["annotations"] == {
        "eks.amazonaws.com/role-arn": ROLE,
        "eks.amazonaws.com/sts-regional-endpoints": "true",
        "mine": "yes",
    }
    assert "envFrom" not in operator(objects)


def test_pod_identity_must_need_nothing_of_the_chart(render):
    """EKS Pod Identity knows the service account by its name: the objects are the default ones."""
    assert render("--set=aws.credentials.podIdentity=true") == render()


def test_secret_must_become_variables(render):
    """Keys come from a Secret whole, so that a session token needs no value of its own; none is copied."""
    objects = render("--set=aws.credentials.secretName=aws-keys")
    assert operator(objects)["envFrom"] == [{"secretRef": {"name": "aws-keys"}}]
    assert "annotations" not in the("ServiceAccount", objects)["metadata"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((f"aws.credentials.roleArn={ROLE}", "aws.credentials.secretName=keys"), "at most one of"),
        (("aws.credentials.podIdentity=true", "aws.credentials.secretName=keys"), "at most one of"),
        ((f"aws.credentials.roleArn={ROLE}", "aws.credentials.podIdentity=true"), "at most one of"),
        ((f"aws.credentials.roleArn={ROLE}", "serviceAccount.create=false"), "serviceAccount.create=false"),
        ((f"aws.credentials.roleArn={ROLE}", IRSA), "give one of the two"),
        (("aws.credentials.podIdentity=true", IRSA), "which would win"),
    ],
)
def test_contradicting_identities_must_be_refused(template, arguments, named):
    """Where AWS' libraries would silently prefer one identity to another, the chart says so instead."""
    done = template(*(f"--set={each}" for each in arguments))
    assert done.returncode != 0
    assert named in done.stderr


def test_price_table_must_reach_the_operator(render):
    """The table is a file in a folder of the pod, read-only, where the operator looks for it."""
    objects = render()
    prices = the("ConfigMap", objects)
    assert list(prices["data"]) == ["prices.yaml"]
    container = operator(objects)
    (mount,) = (each for each in container["volumeMounts"] if each["name"] == "prices")
    assert mount == {"name": "prices", "mountPath": "/etc/sagebrush/prices", "readOnly": True}
    (volume,) = (
        each for each in the("Deployment", objects)["spec"]["template"]["spec"]["volumes"] if each["name"] == "prices"
    )
    assert volume["configMap"] == {"name": prices["metadata"]["name"]}
    (path,) = (each["value"] for each in container["env"] if each["name"] == "SAGEBRUSH_PRICE_TABLE")
    assert path == f"{mount['mountPath']}/prices.yaml"


def test_operator_must_understand_the_price_table(render, tmp_path):
    """The default table, and one with prices of the user's own, are what the operator reads."""
    from sagebrush.core.sagemaker.cost import price_table

    def table(*arguments):
        return price_table(yaml.safe_load(the("ConfigMap", render(*arguments))["data"]["prices.yaml"]))

    default = table()
    assert (default.as_of, default.currency) == ("2026-08", "USD")
    assert default.hosting["us-east-1"]["ml.m5.xlarge"] == 0.23
    assert default.training["us-east-1"]["ml.m5.xlarge"] == 0.23

    values = tmp_path / "values.yaml"
    mine = {"asOf": "2026-11-01", "currency": "EUR", "hosting": {"eu-central-1": {"ml.m5.large": 1}}}
    values.write_text(yaml.safe_dump({"aws": {"prices": mine}}))
    changed = table("--values", str(values))
    assert (changed.as_of, changed.currency) == ("2026-11-01", "EUR")
    assert changed.hosting["eu-central-1"] == {"ml.m5.large": 1.0}
    assert changed.hosting["us-east-1"] == default.hosting["us-east-1"]
