"""As whom the operator calls AWS, and where: keys, tokens, roles of other accounts, regions; and what it says without any."""

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.kube import Kube
from tests.integration.operator_process import Operators
from tests.integration.sagemaker.aws import Aws, training_job
from tests.integration.sagemaker.jobs import (
    LONG,
    SHORT,
    codes,
    edit,
    jobs,
    message,
    plan_jobs,
    standing,
    wait_gone,
    wait_phase,
)

NAMESPACE_ACCOUNT, OBJECT_ACCOUNT, TOKEN_ACCOUNT, POD_ACCOUNT = (str(digit) * 12 for digit in (2, 3, 4, 5))
NO_KEYS = {
    "AWS_ACCESS_KEY_ID": "",
    "AWS_SECRET_ACCESS_KEY": "",
    "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
    "AWS_CONFIG_FILE": "/nonexistent",
}


def role(account: str, name: str = "sagebrush-operator") -> str:
    """ARN of a role."""
    return f"arn:aws:iam::{account}:role/{name}"


def execution(account: str) -> dict[str, str]:
    """The part of a manifest that names the account's execution role: SageMaker takes no other account's."""
    return {"roleArn": role(account, "sagemaker-execution")}


def test_jobs_must_go_to_their_account_and_region(aws: Aws, kube: Kube, namespace: str, operators: Operators):
    """The object's role wins over its namespace's, the object's region over the operator's; and there they are deleted."""
    plan_jobs(aws, namespace, duration=SHORT)
    aws.start(operators, namespace, f"--namespace-roles={namespace}={role(NAMESPACE_ACCOUNT)}")
    rows = {
        "by-namespace": ({}, NAMESPACE_ACCOUNT, "us-east-1"),
        "by-object": ({"assumeRoleArn": role(OBJECT_ACCOUNT)}, OBJECT_ACCOUNT, "us-east-1"),
        "elsewhere": ({"region": "eu-west-1"}, NAMESPACE_ACCOUNT, "eu-west-1"),
    }
    for name, (chosen, account, _) in rows.items():
        kube.apply(training_job(name, namespace, sagemaker={**execution(account), **chosen}))
    for name, (_, account, region) in rows.items():
        status = wait_phase(kube, namespace, "Completed", name=name)["status"]
        assert f"arn:aws:sagemaker:{region}:{account}:training-job/{status['jobName']}" == status["sageMaker"]["arn"]
        assert [status["jobName"]] == [
            job.name for job in jobs(aws, namespace, account=account, region=region) if f"-{name}-" in job.name
        ]
        assert f"dkr.ecr.{region}." in status["trainingImage"]
    assert [] == jobs(aws, namespace), "nothing in the operator's own account"
    assumed = aws.simulator.audit.calls("AssumeRole")
    assert {role(NAMESPACE_ACCOUNT), role(OBJECT_ACCOUNT)} == {entry.resource for entry in assumed}
    asked = [(entry.resource, entry.region) for entry in assumed]
    assert len(set(asked)) == len(asked), "once for each role and region: credentials are kept"
    for name in rows:
        kube.delete("TrainingJob", namespace, name)
    for name in rows:
        kube.wait_gone("TrainingJob", namespace, name)
    aws.wait_clean()


def test_job_must_be_followed_in_its_region(aws: Aws, kube: Kube, namespace: str, operators: Operators):
    """An operator that has moved to another region still finds what was made in the old one, and makes no second job."""
    plan_jobs(aws, namespace, duration=LONG)
    operator = aws.start(operators, namespace)
    kube.apply(training_job("kdd", namespace))
    wait_phase(kube, namespace, "Training")
    operator.kill()
    aws.start(operators, namespace, AWS_REGION="eu-west-1")
    edit(kube, namespace, {"suspend": True})
    wait_phase(kube, namespace, "Stopped")
    kube.delete("TrainingJob", namespace, "kdd")
    wait_gone(aws, kube, namespace)
    assert ["OK"] == codes(aws, "CreateTrainingJob", namespace)


def test_operator_that_knows_nothing_must_say_what_it_lacks(aws: Aws, kube: Kube, namespace: str, operators: Operators):
    """Without a region the object is asked for one; without credentials it says where they come from; nothing is called."""
    aws.start(operators, namespace, AWS_REGION="", **NO_KEYS)
    kube.apply(training_job("nowhere", namespace))
    kube.apply(training_job("somewhere", namespace, sagemaker={"region": "us-west-2"}))
    body = kube.wait_ready("TrainingJob", namespace, "nowhere", "InvalidSpec")
    assert ("Stalled", "InvalidSpec") == standing(body)
    assert "spec.sageMaker.region: needed" in message(body)
    body = kube.wait_ready("TrainingJob", namespace, "somewhere", "PermissionDenied")
    assert ("Reconciling", "PermissionDenied") == standing(body)
    assert "no AWS credentials" in message(body)
    assert "docs/sagemaker.md" in message(body)
    assert 0 == aws.simulator.audit.count()
    for name in ("nowhere", "somewhere"):
        kube.delete("TrainingJob", namespace, name)
        kube.wait_gone("TrainingJob", namespace, name)


def test_web_identity_must_do_without_keys(aws: Aws, kube: Kube, namespace: str, operators: Operators, tmp_path: Path):
    """IRSA: a role and the service account's token, as EKS puts them into the pod, are all that is needed."""
    token = tmp_path / "token"
    token.write_text("a.service.account.token")
    plan_jobs(aws, namespace, duration=SHORT)
    irsa = {"AWS_ROLE_ARN": role(TOKEN_ACCOUNT), "AWS_WEB_IDENTITY_TOKEN_FILE": str(token)}
    aws.start(operators, namespace, **NO_KEYS, **irsa)
    kube.apply(training_job("kdd", namespace, sagemaker=execution(TOKEN_ACCOUNT)))
    status = wait_phase(kube, namespace, "Completed")["status"]
    assert f":{TOKEN_ACCOUNT}:" in status["sageMaker"]["arn"]


@pytest.fixture
def pod_identity(aws: Aws) -> Iterator[tuple[str, list[str]]]:
    """The address of an EKS Pod Identity agent, and the tokens that it was shown."""
    shown: list[str] = []

    class Agent(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            shown.append(self.headers["Authorization"])
            key, _ = aws.simulator.world.assume(role(POD_ACCOUNT), "pod")
            answer = {
                "AccessKeyId": key,
                "SecretAccessKey": "simulated",
                "Token": "simulated",
                "Expiration": "2126-01-01T00:00:00Z",
            }
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Agent) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1/credentials", shown
        server.shutdown()


def test_pod_identity_must_do_without_keys(
    aws: Aws,
    kube: Kube,
    namespace: str,
    operators: Operators,
    tmp_path: Path,
    pod_identity: tuple[str, list[str]],
):
    """EKS Pod Identity: the agent's address and a token, as EKS puts them into the pod."""
    address, shown = pod_identity
    token = tmp_path / "token"
    token.write_text("pod-token")
    plan_jobs(aws, namespace, duration=SHORT)
    variables = {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": address,
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(token),
    }
    aws.start(operators, namespace, **NO_KEYS, **variables)
    kube.apply(training_job("kdd", namespace, sagemaker=execution(POD_ACCOUNT)))
    status = wait_phase(kube, namespace, "Completed")["status"]
    assert f":{POD_ACCOUNT}:" in status["sageMaker"]["arn"]
    assert {"pod-token"} == set(shown)
