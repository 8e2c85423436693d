"""S3 for the session, and a simulated account for each test that is looked over when the test has ended."""

import itertools
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from devcluster.controlplane import ControlPlane
from tests.integration.kube import Kube
from tests.integration.operator_process import OperatorProcess, Operators
from tests.integration.sagemaker.aws import BUCKET, CREDENTIALS, REGION, SPEED, Aws
from tests.integration.sagemaker.endpoints import QUICK
from tests.integration.sagemaker.jobs import slow
from tests.integration.sagemaker.permissions import not_allowed, not_used, operations_in

PRICES = """\
asOf: 2026-11-01
currency: USD
hosting: {us-east-1: {ml.m5.large: 0.12, ml.m5.xlarge: 0.24}}
training: {us-east-1: {ml.m5.large: 0.18, ml.m5.xlarge: 0.36}}
"""
_numbers = itertools.count(1)
_used: set[str] = set()


def note_operations(account: Aws) -> None:
    """Remember what operators called in this account."""
    _used.update(operations_in(account))


@pytest.fixture(scope="session", autouse=True)
def permissions(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """
    When all is done: whatever any test made an operator call is allowed by the chart's IAM policy, and, where all tests of
    the folder ran, everything that the policy allows was called. Of several workers the last one knows all.
    """
    yield
    assert [] == not_allowed(_used)
    worker, workers = os.environ.get("PYTEST_XDIST_WORKER"), int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    used = set(_used)
    if worker is not None:
        folder = tmp_path_factory.getbasetemp().parent
        (folder / f"sagemaker-{worker}.tmp").write_text("\n".join(sorted(_used)))
        (folder / f"sagemaker-{worker}.tmp").rename(folder / f"sagemaker-{worker}.used")
        told = list(folder.glob("sagemaker-*.used"))
        if len(told) < workers:
            return
        used = {line for path in told for line in path.read_text().splitlines()}
    here = Path(__file__).parent
    files = {item.path for item in request.session.items if item.path.parent == here}
    filtered = request.config.getoption("keyword") or request.config.getoption("markexpr")
    if files == set(here.glob("test_*.py")) and not filtered and not request.session.testsfailed:
        assert [] == not_used(used)


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """The address of an S3 server with the bucket that tests use."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    boto3.client(
        "s3",
        region_name=REGION,
        endpoint_url=url,
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
    ).create_bucket(Bucket=BUCKET)
    try:
        yield url
    finally:
        server.stop()


@pytest.fixture
def aws(s3: str, request: pytest.FixtureRequest) -> Iterator[Aws]:
    """
    A simulated account with data and a model in S3. What it holds against the operator at the end fails the test.

    Parametrized, at that speed.
    """
    account = Aws(s3=s3, speed=getattr(request, "param", SPEED))
    with account.simulator:
        account.put("train/part-0.csv")
        account.put_model()
        yield account
        note_operations(account)
        assert [] == account.simulator.audit.violations
        assert [] == account.bursts()


@pytest.fixture(scope="module")
def shared_aws(s3: str, request: pytest.FixtureRequest) -> Iterator[Aws]:
    """
    One account for all tests of a module, each of which keeps to its namespace: names there begin with it.

    At the module's own SPEED, if it has one.
    """
    account = Aws(s3=s3, speed=getattr(request.module, "SPEED", SPEED))
    with account.simulator:
        account.put("train/part-0.csv")
        account.put_model()
        yield account
        note_operations(account)
        assert [] == account.bursts()


@pytest.fixture(scope="module")
def shared_operator(
    shared_aws: Aws, control_plane: ControlPlane, kube: Kube, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorProcess]:
    """
    One operator, with prices, for all namespaces and tests of a module.

    When they have ended it must leave nothing in the account, although namespaces were deleted with objects in them.
    """
    folder: Path = tmp_path_factory.mktemp("operator")
    (folder / "prices.yaml").write_text(PRICES)
    home = f"sagemaker-{next(_numbers)}"
    kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": home}})
    running = Operators(kubeconfig=control_plane.kubeconfig, folder=folder)
    try:
        yield shared_aws.start(running, home, f"--price-table={folder / 'prices.yaml'}", everywhere=True)
        shared_aws.simulator.faults.clear()
        shared_aws.wait_clean()
        assert [] == shared_aws.simulator.audit.violations
    finally:
        running.end()
        kube.delete("Namespace", None, home)


@pytest.fixture
def quick(shared_aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    """Endpoints take half a second for what takes them minutes at AWS."""
    slow(shared_aws, monkeypatch, **QUICK)
