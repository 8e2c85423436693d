"""examples/pretrained from end to end, but for the cluster: trained, fetched, served, asked over HTTP."""

import hashlib
import runpy
import shutil
import sys
from pathlib import Path

import orjson
import pytest
import skops.io
import yaml

from sagebrush_server.models.fetch import ModelSource, fetch_model
from sagebrush_server.models.loading import load_model
from sagebrush_server.models.settings import LoadingSettings
from tests.unit.server.wire import connect, post, read_reply

EXAMPLE = Path(__file__).parents[3] / "examples" / "pretrained"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """What train.py writes."""
    out = tmp_path_factory.mktemp("pretrained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["train.py", "--out", str(out)])
        runpy.run_path(str(EXAMPLE / "train.py"), run_name="__main__")
    return out


def test_example_must_serve_what_it_trained(trained, tmp_path, paths, start_server):
    """The manifest's checksum is the file's, and the endpoint answers in the words of the model, without unpickling."""
    spec = yaml.safe_load((trained / "endpoint.yaml").read_text())["spec"]["model"]
    artifact, allowed = spec["artifact"], LoadingSettings(trusted_types=frozenset(spec["allow"]))
    assert artifact["sha256"] == hashlib.sha256((trained / "model.skops").read_bytes()).hexdigest()
    shutil.copy(trained / "model.skops", tmp_path / "claims" / "data" / "model.skops")
    fetch_model(ModelSource("pvc://data/model.skops", sha256=artifact["sha256"]), folder=paths.model)
    model = load_model(paths.model, settings=allowed)
    running = start_server(lambda: model)
    row = (trained / "row.csv").read_bytes()
    with connect(running.port) as connection, connection.makefile("rb") as stream:
        connection.sendall(post(row))
        reply = read_reply(stream)
    estimator = skops.io.load(trained / "model.skops", trusted=spec["allow"])
    values = [[float(cell) for cell in row.split(b",")]]
    (answer,) = orjson.loads(reply.body)["predictions"]
    assert answer["predicted_label"] == estimator.predict(values)[0]
    assert answer["probabilities"] == pytest.approx(estimator.predict_proba(values)[0].tolist(), rel=1e-12)


@pytest.mark.parametrize("name", ["endpoint.yaml", "scikit-learn.yaml"])
def test_manifests_must_have_a_checksum_to_fill_in(name):
    """Who copies them has to look at what is served."""
    manifest = yaml.safe_load((EXAMPLE / name).read_text())
    assert manifest["spec"]["model"]["artifact"]["sha256"] == "0" * 64
