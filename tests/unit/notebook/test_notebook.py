"""The article's notebook: the same steps and shapes on this machine, and the objects it makes in a cluster."""

import io
import json
import runpy
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import numpy as np
import pytest
from kubernetes.client.exceptions import ApiException

from examples.notebook import cluster_session
from examples.notebook.cluster_session import ClusterSession, model_endpoint, training_job
from examples.notebook.estimator import Estimator, Predictor, csv_serializer, write_dense_records
from examples.notebook.local_session import LocalSession
from sagebrush.api.model_endpoint import ModelEndpointSpec
from sagebrush.api.training_job import TrainingJobSpec
from sagebrush_server.codecs.recordio import read_records


def test_the_notebook_must_give_the_articles_shapes(tmp_path, monkeypatch):
    """From data to predictions with the real `train` and `serve`: 41 features in, score and predicted_label out."""
    argv = ["kdd_intrusion", "--local", str(tmp_path), "--source", "generated", "--rows", "1500"]
    monkeypatch.setattr(sys, "argv", argv)
    cells = runpy.run_module("examples.notebook.kdd_intrusion")
    assert cells["train_set"][0].shape == (1050, 41)
    assert cells["train_set"][1].shape == (1050,)
    one = cells["linear_predictor"].predict
    assert callable(one)
    result = cells["result"]
    assert list(result) == ["predictions"]
    assert all(list(entry) == ["score", "predicted_label"] for entry in result["predictions"])
    assert all(0 <= entry["score"] <= 1 and entry["predicted_label"] in (0, 1) for entry in result["predictions"])
    assert len(cells["predictions"]) == len(cells["test_set"][0]) == 225
    assert cells["accuracy"] > 0.9
    # Nothing serves any more.
    with pytest.raises(OSError, match="refused"):
        one(cells["train_set"][0][:1])


def test_a_failed_training_must_give_its_reason(tmp_path):
    """On this machine `fit` raises with the text of the failure file."""
    session = LocalSession(str(tmp_path))
    stream = io.BytesIO()
    write_dense_records(stream, vectors=np.eye(3), labels=np.array([0.0, 1.0, 1.0]))
    uri = session.upload(io.BytesIO(stream.getvalue()), key="train/data")
    estimator = Estimator("linear-learner", instance_count=1, output_path="file:///x", session=session)
    estimator.set_hyperparameters(predictor_type="oracle")
    with pytest.raises(RuntimeError, match="ClientError: hyperparameter predictor_type='oracle'"):
        estimator.fit({"train": uri})


def test_records_and_csv_must_hold_the_values():
    """RecordIO holds vectors and labels in float32; CSV has a line per row and no header."""
    stream = io.BytesIO()
    write_dense_records(
        stream, vectors=np.array([[1.5, 2.0]], dtype="float32"), labels=np.array([1.0], dtype="float32")
    )
    stream.seek(0)
    (record,) = read_records(stream)
    assert record.features["values"].values.tolist() == [1.5, 2.0]
    assert record.label["values"].values.tolist() == [1.0]
    assert csv_serializer(np.array([[1.5, 2.0], [3.0, 4.0]])) == b"1.5,2.0\n3.0,4.0"


def test_a_predictor_must_post_what_the_sdk_posts():
    """Content-Type, Accept, body and path as the SDK's predictor sends them."""
    seen = []

    class Endpoint(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            seen.append((self.path, self.headers["Content-Type"], self.headers["Accept"], body))
            answer = b'{"predictions":[]}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *arguments):
            pass

    with HTTPServer(("127.0.0.1", 0), Endpoint) as server:
        Thread(target=server.handle_request, daemon=True).start()
        predictor = Predictor("x", url=f"http://127.0.0.1:{server.server_port}/invocations")
        assert predictor.predict(np.array([1.0, 2.0])) == {"predictions": []}
    assert seen == [("/invocations", "text/csv", "application/json", b"1.0,2.0")]


class Cluster:
    """Kubernetes' CustomObjectsApi with scripted status: each look shows the next one, the last one stays."""

    def __init__(self, **script):
        self.script = {plural: list(statuses) for plural, statuses in script.items()}
        self.there, self.made, self.deletions = {}, [], []

    def create_namespaced_custom_object(self, group, version, namespace, plural, body):
        assert (group, version) == ("sagebrush.dev", "v1alpha1")
        assert plural not in self.there
        self.made.append((namespace, plural, body))
        self.there[plural] = body

    def get_namespaced_custom_object(self, group, version, namespace, plural, name):
        if plural not in self.there:
            raise ApiException(status=404)
        statuses = self.script[plural]
        return {"status": statuses.pop(0) if len(statuses) > 1 else statuses[0]}

    def delete_namespaced_custom_object(self, group, version, namespace, plural, name, **more):
        if plural not in self.there:
            raise ApiException(status=404)
        self.deletions.append((plural, name))
        del self.there[plural]


def condition(kind, status, message=""):
    return {"type": kind, "status": status, "message": message}


READY = {"conditions": [condition("Ready", "True", "2 replicas serve")], "url": "http://x.demo.svc/invocations"}


def fitted(cluster):
    session = ClusterSession(bucket="b", namespace="demo", objects=cluster, sleep=lambda _: None)
    estimator = Estimator("linear-learner", instance_count=2, output_path="s3://b/out", session=session)
    estimator.set_hyperparameters(feature_dim=41, predictor_type="binary_classifier", mini_batch_size=200)
    estimator.fit({"train": "s3://b/train"})
    return session, estimator


def test_a_cluster_must_get_objects_that_its_schema_takes():
    """The TrainingJob and the ModelEndpoint are valid, and say what the estimator was told."""
    cluster = Cluster(
        trainingjobs=[{}, {"phase": "Training", "conditions": [condition("Reconciling", "True", "is training")]},
                      {"phase": "Completed"}],
        modelendpoints=[{}, {"conditions": [condition("Ready", "False")]}, READY],
    )  # fmt: skip
    session, estimator = fitted(cluster)
    predictor = estimator.deploy(initial_instance_count=2)
    assert predictor.url == "http://x.demo.svc/invocations"
    (_, _, job), (namespace, _, endpoint) = cluster.made
    assert namespace == "demo"
    spec = TrainingJobSpec.model_validate(job["spec"])
    assert spec.hyper_parameters == {
        "feature_dim": "41",
        "predictor_type": "binary_classifier",
        "mini_batch_size": "200",
    }
    assert spec.instance_count == 2
    assert ModelEndpointSpec.model_validate(endpoint["spec"]).replicas == 2
    assert endpoint["spec"]["model"]["trainingJobRef"]["name"] == job["metadata"]["name"]
    assert json.loads(json.dumps(job)) == training_job(estimator, channels={"train": "s3://b/train"})
    assert endpoint == model_endpoint(estimator, replicas=2)
    session.delete_endpoint(predictor)
    assert cluster.deletions == [("modelendpoints", "notebook-linear-learner")]


def test_a_cluster_must_replace_the_job_of_the_last_run():
    """Running the notebook again makes another job: the old one is deleted first, and waited for."""
    cluster = Cluster(trainingjobs=[{"phase": "Completed"}])
    fitted(cluster)
    cluster.script["trainingjobs"] = [{"phase": "Completed"}]
    fitted(cluster)
    assert cluster.deletions == [("trainingjobs", "notebook-linear-learner")]
    assert len(cluster.made) == 2


def test_a_cluster_must_give_the_reason_of_a_failure():
    """A job that failed and an endpoint that stalled raise with the condition's message."""
    failed = {"phase": "Failed", "conditions": [condition("Stalled", "True", "ClientError: mini_batch_size")]}
    with pytest.raises(RuntimeError, match="is Failed: ClientError: mini_batch_size"):
        fitted(Cluster(trainingjobs=[failed]))
    stalled = {"conditions": [condition("Ready", "False"), condition("Stalled", "True", "no such job")]}
    _, estimator = fitted(Cluster(trainingjobs=[{"phase": "Completed"}], modelendpoints=[stalled]))
    with pytest.raises(RuntimeError, match="is stalled: no such job"):
        estimator.deploy(initial_instance_count=1)


def test_a_cluster_must_not_be_waited_for_without_end(monkeypatch):
    """What never gets ready ends with what was said last."""
    monkeypatch.setattr(cluster_session, "WAIT_SECONDS", 0.05)
    waiting = {"phase": "Pending", "conditions": [condition("Reconciling", "True", "no node has room")]}
    with pytest.raises(RuntimeError, match=r"was not ready within 0 s: no node has room"):
        fitted(Cluster(trainingjobs=[waiting]))
