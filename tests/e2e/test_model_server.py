"""The model server on real pods: every built-in algorithm, models from elsewhere, several processes, AWS' own client."""

import io
import json
import tarfile
from typing import Any

import boto3
import joblib
import numpy as np
import pytest
import skops.io
from botocore.config import Config
from sklearn.linear_model import LogisticRegression

from examples.demo.data import BUCKET
from sagebrush_server.codecs.recordio import write_rows
from tests.e2e.conftest import World
from tests.e2e.manifests import endpoint, training_job
from tests.e2e.test_serving import post

WIDTH = 5
ROWS = 400
CHEAP = {"resources": {"requests": {"cpu": "20m", "memory": "64Mi"}}}
CSV, UNLABELLED, RECORDS = "text/csv", "text/csv;label_size=0", "application/x-recordio-protobuf"

ALGORITHMS: dict[str, dict[str, Any]] = {
    "xgboost": {
        "hyperParameters": {"num_round": "10", "objective": "binary:logistic"},
        "data": ("labelled", CSV),
        "instanceCount": 2,
        "answer": {"predictions": [["score"]]},
    },
    "kmeans": {
        "hyperParameters": {"k": "2", "feature_dim": str(WIDTH)},
        "data": ("plain", UNLABELLED),
        "answer": {"predictions": [["closest_cluster", "distance_to_cluster"]]},
    },
    "pca": {
        "hyperParameters": {"num_components": "2", "feature_dim": str(WIDTH), "mini_batch_size": "100"},
        "data": ("plain", UNLABELLED),
        "answer": {"projections": [["projection"]]},
    },
    "random-cut-forest": {
        "hyperParameters": {"num_trees": "50", "feature_dim": str(WIDTH)},
        "data": ("plain", UNLABELLED),
        "answer": {"scores": [["score"]]},
    },
    "knn": {
        "hyperParameters": {"k": "3", "sample_size": "200", "predictor_type": "classifier", "feature_dim": str(WIDTH)},
        "data": ("labelled", CSV),
        "answer": {"predictions": [["predicted_label"]]},
    },
    "factorization-machines": {
        "hyperParameters": {"num_factors": "2", "predictor_type": "binary_classifier", "feature_dim": str(WIDTH)},
        "data": ("records", RECORDS),
        "answer": {"predictions": [["score", "predicted_label"]]},
    },
}

CODE = """
import json, os

def model_fn(model_dir):
    return json.load(open(os.path.join(model_dir, "threshold.json")))

def predict_fn(data, model):
    return [float(row[0]) > model["threshold"] for row in data]
"""


def labelled_rows() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Two clouds that anything can tell apart."""
    generator = np.random.default_rng(5)
    labels = np.arange(ROWS) % 2
    return generator.normal(size=(ROWS, WIDTH)) + 4.0 * labels[:, np.newaxis], labels


def lines(table: np.ndarray[Any, Any]) -> bytes:
    """CSV."""
    return "".join(",".join(map(repr, row)) + "\n" for row in table.tolist()).encode()


def archive(files: dict[str, bytes]) -> bytes:
    """A model.tar.gz."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, content in files.items():
            about = tarfile.TarInfo(name)
            about.size = len(content)
            tar.addfile(about, io.BytesIO(content))
    return out.getvalue()


def pickled(model: Any) -> bytes:
    """What joblib writes."""
    out = io.BytesIO()
    joblib.dump(model, out)
    return out.getvalue()


@pytest.fixture(scope="module")
def files(world: World) -> None:
    """Training data and models made elsewhere, in the bucket."""
    features, labels = labelled_rows()
    model = LogisticRegression().fit(features, np.where(labels == 1, "high", "low"))
    records = io.BytesIO()
    write_rows(records, features=features, labels=labels.astype(np.float64))
    found = {
        "server/labelled/rows.csv": lines(np.column_stack([labels.astype(float), features])),
        "server/plain/rows.csv": lines(features),
        "server/records/rows.pbr": records.getvalue(),
        "server/model.skops": skops.io.dumps(model),
        "server/model.joblib": pickled(model),
        "server/code.tar.gz": code_archive(),
    }
    with world.stack.addons.reach_s3(world.cluster) as url:
        client = world.stack.addons.store.client(url)
        for key, body in found.items():
            client.put_object(Bucket=BUCKET, Key=key, Body=body)


def code_archive() -> bytes:
    """User code in SageMaker's layout."""
    return archive({"code/inference.py": CODE.encode(), "threshold.json": b'{"threshold": 2.0}'})


@pytest.fixture(scope="module")
def trained(world: World, files: None) -> None:
    """A job and an endpoint for each algorithm, all at the same time: the endpoints wait for their jobs."""
    for name, about in ALGORITHMS.items():
        folder, content_type = about["data"]
        channel = {"name": "train", "uri": f"s3://{BUCKET}/server/{folder}", "contentType": content_type}
        if name == "random-cut-forest":
            channel["distribution"] = "ShardedByS3Key"
        spec = {
            "algorithm": {"name": name},
            "hyperParameters": about["hyperParameters"],
            "channels": [channel],
            "instanceCount": about.get("instanceCount", 1),
            "cluster": CHEAP,
        }
        world.apply(training_job(name, **spec))
        world.apply(
            endpoint(
                name,
                model={"trainingJobRef": {"name": name}},
                cluster={"service": {"type": "NodePort"}, **CHEAP},
            )
        )


@pytest.mark.parametrize("name", ALGORITHMS)
def test_algorithm_must_train_and_serve(world: World, trained: None, name: str) -> None:
    """SageMaker's algorithms train in a Job (xgboost on two hosts) and answer in SageMaker's own JSON."""
    world.wait_reason("trainingjob", name, "Completed")
    world.wait_reason("modelendpoint", name, "Serving")
    features, _ = labelled_rows()
    body = json.dumps({"instances": [{"features": row} for row in features[:2].tolist()]})
    answer = post(world.address(name), body, "application/json")
    ((root, (columns,)),) = ALGORITHMS[name]["answer"].items()
    assert list(answer) == [root]
    assert [list(each) for each in answer[root]] == [columns] * 2
    world.kubectl("delete", f"modelendpoint/{name}", f"trainingjob/{name}", "--wait")


def test_model_from_elsewhere_must_serve_without_code(world: World, files: None) -> None:
    """One file made by scikit-learn and written by skops is an endpoint, with the labels it was trained on."""
    world.apply(endpoint("elsewhere", model={"artifact": {"uri": f"s3://{BUCKET}/server/model.skops"}}))
    world.wait_reason("modelendpoint", "elsewhere", "Serving")
    answer = post(world.address("elsewhere"), "0,0,0,0,0\n4,4,4,4,4")
    assert [each["predicted_label"] for each in answer["predictions"]] == ["low", "high"]


def test_pickle_must_be_refused_until_it_is_allowed(world: World, files: None) -> None:
    """A pickle runs its maker's code: it is not loaded, status says the line to add, and with that line it serves."""
    artifact = {"uri": f"s3://{BUCKET}/server/model.joblib"}
    world.apply(endpoint("pickle", model={"artifact": artifact}))
    world.wait(
        "the line to add",
        lambda: "allow: [Unpickling]" in world.condition("modelendpoint", "pickle").get("message", ""),
        seen=lambda: world.status("modelendpoint", "pickle"),
    )
    assert world.status("modelendpoint", "pickle")["readyReplicas"] == 0
    world.apply(endpoint("pickle", model={"artifact": artifact, "allow": ["Unpickling"]}))
    world.wait_reason("modelendpoint", "pickle", "Serving")


def test_users_code_must_serve_in_sagemakers_layout(world: World, files: None) -> None:
    """code/inference.py with SageMaker's functions is run as it is, on a read-only root file system."""
    world.apply(endpoint("code", model={"artifact": {"uri": f"s3://{BUCKET}/server/code.tar.gz"}}))
    world.wait_reason("modelendpoint", "code", "Serving")
    assert post(world.address("code"), "1,0\n3,0") == [False, True]


def test_processes_must_share_a_port_and_a_page_of_metrics(world: World, files: None) -> None:
    """Two processes answer on one port, and /metrics adds them up."""
    environment = [{"name": "SAGEMAKER_MODEL_SERVER_WORKERS", "value": "2"}]
    model = {"artifact": {"uri": f"s3://{BUCKET}/server/model.skops"}, "environment": environment}
    world.apply(endpoint("two", model=model))
    world.wait_reason("modelendpoint", "two", "Serving")
    url = world.address("two")
    for _ in range(20):
        post(url, "0,0,0,0,0")
    (pod,) = [each["metadata"]["name"] for each in world.pods(endpoint="two")]
    path = f"/api/v1/namespaces/{world.namespace}/pods/{pod}:9102/proxy/metrics"

    def counted() -> bool:
        page = world.cluster.ctl("get", "--raw", path)
        values = dict(line.rsplit(" ", 1) for line in page.splitlines() if line.startswith("sagebrush_"))
        workers = [value for name, value in values.items() if name.startswith("sagebrush_workers{")]
        arrived = [value for name, value in values.items() if name.startswith("sagebrush_invocations_total{")]
        return [float(value) for value in workers] == [2.0] and [float(value) for value in arrived] == [20.0]

    world.wait("20 requests counted over two processes", counted)


def test_aws_client_must_invoke_an_endpoint_in_the_cluster(world: World, files: None) -> None:
    """boto3's sagemaker-runtime works with nothing but another endpoint_url."""
    world.apply(endpoint("elsewhere", model={"artifact": {"uri": f"s3://{BUCKET}/server/model.skops"}}))
    world.wait_reason("modelendpoint", "elsewhere", "Serving")
    client = boto3.client(
        "sagemaker-runtime",
        endpoint_url=world.address("elsewhere"),
        region_name="us-east-1",
        aws_access_key_id="none",
        aws_secret_access_key="none",
        config=Config(retries={"total_max_attempts": 1}),
    )
    answer = client.invoke_endpoint(EndpointName="elsewhere", ContentType=CSV, Accept=CSV, Body=b"4,4,4,4,4")
    assert answer["Body"].read().startswith(b"high,")
