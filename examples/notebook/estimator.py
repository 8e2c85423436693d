"""What takes the place of the SageMaker SDK in the notebook: `Estimator` and `Predictor`, over a cluster or this machine.

In a cluster `fit` makes a TrainingJob and `deploy` a ModelEndpoint, with the Kubernetes client, and both wait for them. On
this machine they run the commands `train` and `serve` of the model server, as the pods do, in a folder.
"""

import json
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.codecs.recordio import write_rows

Serializer = Callable[[NDArray[np.generic]], bytes]
Deserializer = Callable[[bytes], Any]


class Session(Protocol):
    """Where data and models lie, and what trains and serves."""

    @property
    def bucket(self) -> str:
        """URI that keys are put below."""
        ...

    def upload(self, stream: BinaryIO, *, key: str) -> str:
        """Put a stream into the bucket and return its URI."""
        ...

    def train(self, estimator: "Estimator", *, channels: Mapping[str, str]) -> None:
        """Train, and return when the model is there. Raises RuntimeError with the reason of a failure."""
        ...

    def deploy(self, estimator: "Estimator", *, replicas: int) -> str:
        """Serve the estimator's model and return the address for requests once it answers. Raises RuntimeError."""
        ...

    def delete_endpoint(self, predictor: "Predictor") -> None:
        """Stop serving."""
        ...


def open_session(*, local: str | None, bucket: str, namespace: str) -> Session:
    """Return a session in the folder `local`, or, where that is None, in the cluster that kubectl points at."""
    if local is not None:
        from examples.notebook.local_session import LocalSession

        return LocalSession(local)
    from examples.notebook.cluster_session import ClusterSession

    return ClusterSession(bucket=bucket, namespace=namespace)


class Estimator:
    """A built-in algorithm with hyperparameters, as the SDK's class of this name."""

    def __init__(self, algorithm: str, *, instance_count: int, output_path: str, session: Session) -> None:
        self.algorithm, self.instance_count, self.output_path = algorithm, instance_count, output_path
        self.hyperparameters: dict[str, str] = {}
        self._session = session

    @property
    def name(self) -> str:
        """The name of the TrainingJob and of the ModelEndpoint."""
        return f"notebook-{self.algorithm}"

    def set_hyperparameters(self, **values: object) -> None:
        """Set hyperparameters. They travel as strings, as SageMaker has them."""
        self.hyperparameters = {name: str(value) for name, value in values.items()}

    def fit(self, channels: Mapping[str, str]) -> None:
        """Train on the data at these URIs, by channel. Raises RuntimeError."""
        self._session.train(self, channels=channels)

    def deploy(self, *, initial_instance_count: int) -> "Predictor":
        """Serve the model that was trained. Raises RuntimeError."""
        return Predictor(self.name, url=self._session.deploy(self, replicas=initial_instance_count))


def csv_serializer(rows: NDArray[np.generic]) -> bytes:
    """Write n×d values as CSV without a header."""
    return "\n".join(",".join(repr(value) for value in row) for row in np.atleast_2d(rows).tolist()).encode()


def json_deserializer(body: bytes) -> Any:
    """Read a JSON answer."""
    return json.loads(body)


@dataclass
class Predictor:
    """Asks an endpoint, as the SDK's class of this name."""

    endpoint: str
    url: str
    content_type: str = "text/csv"
    serializer: Serializer = csv_serializer
    deserializer: Deserializer = json_deserializer

    def predict(self, rows: NDArray[np.generic]) -> Any:
        """Return what the model says of n×d values. Raises urllib.error.HTTPError with the server's reason."""
        headers = {"Content-Type": self.content_type, "Accept": "application/json"}
        request = urllib.request.Request(self.url, data=self.serializer(rows), headers=headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return self.deserializer(answer.read())


def write_dense_records(stream: BinaryIO, *, vectors: NDArray[np.generic], labels: NDArray[np.generic]) -> None:
    """Write n×d values and n labels as RecordIO-protobuf, as the SDK's `write_numpy_to_dense_tensor`."""
    write_rows(stream, features=vectors, labels=labels)
