"""Training jobs on small arrays, for the tests of built-in algorithms."""

import numpy as np
from scipy.sparse import csr_matrix

from sagebrush_server.algorithms.model import SparseRows
from sagebrush_server.algorithms.saved_arrays import SavedModel, SelfTest
from sagebrush_server.codecs.recordio import write_rows
from sagebrush_server.training.job import Channel, TrainingInput


def write_csv(folder, name, features, *, labels=None):
    """Write a channel of CSV files, the label first where there is one."""
    path = folder / name
    path.mkdir(parents=True, exist_ok=True)
    table = features if labels is None else np.column_stack((labels, features))
    np.savetxt(path / "part-0.csv", table, delimiter=",", fmt="%.9g")
    return Channel(name, path, content_type=f"text/csv;label_size={0 if labels is None else 1}")


def write_records(folder, name, features, *, labels):
    """Write a channel of sparse RecordIO-protobuf."""
    path = folder / name
    path.mkdir(parents=True, exist_ok=True)
    with (path / "part-0.pbr").open("wb") as stream:
        write_rows(stream, features=sparse_rows(features), labels=np.asarray(labels, dtype=np.float64))
    return Channel(name, path, content_type="application/x-recordio-protobuf")


def job_of(folder, channels, *, seed=0, hosts=("algo-1",), host="algo-1", **hyperparameters):
    """A training input whose model goes to `folder/model`."""
    model = folder / "model"
    model.mkdir(exist_ok=True, parents=True)
    given = {name: str(value) for name, value in hyperparameters.items()}
    return TrainingInput(model, given, {channel.name: channel for channel in channels}, hosts, host, seed)


def reported(capsys):
    """The metric lines of the log, as {(channel, metric): [values]}."""
    found = {}
    for line in capsys.readouterr().out.splitlines():
        if line.startswith("#quality_metric: host="):
            _, channel, metric, score = line.split(", ")[0], *line.split(", ")[1].split(" ")
            found.setdefault((channel, metric), []).append(float(score.removeprefix("<score>=")))
    return found


def saved(facts, arrays, *, width):
    """A model that was never trained, with one row of zeros that nothing is expected of."""
    return SavedModel({"feature_dim": width, **facts}, arrays, SelfTest(np.zeros((1, width)), {}))


def sparse_rows(rows):
    """The same rows as the server's decoders give sparse ones."""
    compressed = csr_matrix(rows)
    indptr, indices = compressed.indptr.astype(np.int64), compressed.indices.astype(np.int64)
    return SparseRows(indptr, indices, compressed.data.astype(np.float64), rows.shape[1])
