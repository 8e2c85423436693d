"""The built-in algorithms on two hosts, as real processes on loopback addresses."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sagebrush_server.algorithms.registry import find_algorithm
from sagebrush_server.models.loading import load_model
from tests.unit.server.algorithm_jobs import job_of, write_csv, write_records

ROOT = Path(__file__).parents[3]
HOSTS = ("127.0.0.1", "127.0.0.2")
CORNERS = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])
JOBS = {
    "kmeans": {"k": 4, "feature_dim": 2, "mini_batch_size": 50, "init_method": "kmeans++"},
    "pca": {"feature_dim": 2, "num_components": 2, "mini_batch_size": 64},
    "random-cut-forest": {"feature_dim": 2, "num_trees": 50, "num_samples_per_tree": 8},
    "knn": {"feature_dim": 2, "k": 3, "predictor_type": "classifier", "sample_size": 101},
    "factorization-machines": {
        "feature_dim": 2,
        "num_factors": 2,
        "predictor_type": "regressor",
        "mini_batch_size": 20,
        "epochs": 60,
        "linear_lr": 0.05,
        "factors_lr": 0.02,
    },
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Blobs in the corners of a square, their number as label; 401 rows, so that the hosts' shares differ."""
    folder = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    label = np.sort(random.integers(0, 4, 401))
    features = np.round(CORNERS[label] + random.normal(scale=0.5, size=(401, 2)), 4)
    return {
        "plain": write_csv(folder / "plain", "train", features),
        "labelled": write_csv(folder / "labelled", "train", features, labels=label),
        "records": write_records(folder / "records", "train", features / 10, labels=features.sum(axis=1)),
        "features": features,
        "labels": label,
    }


def channel_of(data, algorithm):
    kind = {"knn": "labelled", "factorization-machines": "records"}.get(algorithm, "plain")
    return data[kind]


@pytest.fixture(scope="module")
def folder(data, tmp_path_factory):
    """All five jobs run by two processes; the models lie in folders by algorithm and host."""
    folder = tmp_path_factory.mktemp("models")
    jobs = []
    for algorithm, hyperparameters in JOBS.items():
        channel = channel_of(data, algorithm)
        jobs.append(
            {
                "algorithm": algorithm,
                "hosts": HOSTS,
                "folder": str(folder / algorithm),
                "hyperparameters": {name: str(value) for name, value in hyperparameters.items()},
                "channels": {"train": {"folder": str(channel.folder), "content_type": channel.content_type}},
            }
        )
    (folder / "jobs.json").write_text(json.dumps(jobs))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.unit.server.algorithm_host", str(folder / "jobs.json"), host],
            cwd=ROOT,
            env={**os.environ, "SAGEBRUSH_COLLECTIVE_PORT": str(port), "SAGEBRUSH_HOSTS_TIMEOUT_SECONDS": "60"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for host in HOSTS
    ]
    said = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert "#quality_metric" in said[0][0]
    assert "#quality_metric" not in said[1][0]
    return folder


@pytest.mark.parametrize("algorithm", JOBS)
def test_the_first_host_alone_must_save_the_model(folder, algorithm):
    """Every algorithm ends on both hosts; the model is whole and answers its self-test."""
    model = load_model(folder / algorithm / HOSTS[0])
    model.check_self_test(model.predict(model.self_test_rows()))
    assert list((folder / algorithm / HOSTS[1]).iterdir()) == []


def test_pca_must_be_what_one_host_finds(folder, data, tmp_path):
    """Sums of sums: the same components (1e-9)."""
    job = job_of(tmp_path, [data["plain"]], **JOBS["pca"])
    find_algorithm("pca").trainer()(job)
    alone, both = (load_model(path) for path in (job.model_folder, folder / "pca" / HOSTS[0]))
    for name in ("components", "mean", "singular_values"):
        np.testing.assert_allclose(both.saved.arrays[name], alone.saved.arrays[name], rtol=1e-9, atol=1e-9)


def test_the_others_must_learn_from_the_rows_of_both(folder, data):
    """Blobs are found, samples have the asked size and rows of both shares, the regression fits."""
    models = {name: load_model(folder / name / HOSTS[0]) for name in JOBS}
    distances = models["kmeans"].predict(CORNERS).columns["distance_to_cluster"]
    assert distances.max() < 0.5
    scores = models["random-cut-forest"].predict(np.vstack((data["features"], [[40.0, 40.0]]))).columns["score"]
    assert scores[-1] > 1.5 * scores[:-1].mean()
    knn = models["knn"]
    # 51 and 50 rows of the hosts; rows 0, 2, … are the first one's.
    points = knn.saved.arrays["index_points"]
    place = {tuple(row): number for number, row in enumerate(data["features"])}
    assert sorted(place[tuple(row)] % 2 for row in points) == [0] * 51 + [1] * 50
    assert (knn.predict(data["features"]).columns["predicted_label"] == data["labels"]).mean() > 0.98
    answer = models["factorization-machines"].predict(data["features"] / 10).columns["score"]
    assert np.corrcoef(answer, data["features"].sum(axis=1))[0, 1] > 0.98
