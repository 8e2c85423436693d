"""The hosts of one training job working together: sums of arrays over all of them, by XGBoost's own collective.

Host `algo-1` keeps the tracker. A small roll call comes first, so that a host that never came is named.
"""

import contextlib
import logging
import os
import socket
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.errors import AlgorithmError
from sagebrush_server.settings import read_integer, read_number

if TYPE_CHECKING:
    from sagebrush_server.training.job import TrainingInput

_LOG = logging.getLogger(__name__)
Array = NDArray[np.float64]

DEFAULT_PORT: Final = 7070
_RETRY_SECONDS: Final = 0.2
_LINE_SECONDS: Final = 5.0
_LONGEST_NAME: Final = 512


class Collective:
    """What the hosts of a job do together. Every host must make the same calls in the same order, with equal shapes."""

    def __init__(self, rank: int = 0, *, size: int = 1) -> None:
        self.rank, self.size = rank, size

    @property
    def leads(self) -> bool:
        """Whether this is the first host: the one that saves the model."""
        return self.rank == 0

    def sum(self, values: Array) -> Array:
        """Return the sum over all hosts. Raises AlgorithmError where a host is gone."""
        return self._reduce(values, operation="SUM")

    def maximum(self, values: Array) -> Array:
        """Return the largest over all hosts, element by element. Raises AlgorithmError where a host is gone."""
        return self._reduce(values, operation="MAX")

    def mean(self, values: Array, *, weight: float) -> Array:
        """Return the mean over all hosts, each counted with its weight (its number of rows)."""
        if self.size == 1:
            return values
        summed = self.sum(np.append(values.ravel() * weight, weight))
        return np.asarray(summed[:-1] / summed[-1]).reshape(values.shape)

    def from_leader(self, values: Array) -> Array:
        """Return the first host's values; the others' must have the same shape and are not looked at."""
        return self.sum(values if self.leads else np.zeros_like(values))

    def any(self, mine: bool) -> bool:
        """Whether it is true of any host."""
        return bool(self.maximum(np.array([float(mine)]))[0])

    def _reduce(self, values: Array, *, operation: str) -> Array:
        if self.size == 1:
            return values
        from xgboost import collective
        from xgboost.core import XGBoostError

        flat = np.ascontiguousarray(values, dtype=np.float64).ravel()
        try:
            reduced = collective.allreduce(flat, collective.Op[operation])
        except XGBoostError as problem:
            raise AlgorithmError(f"a host of this training job is gone: {_first_line(problem)}") from problem
        return np.asarray(reduced, dtype=np.float64).reshape(values.shape)


@contextlib.contextmanager
def together(job: "TrainingInput", *, environment: Mapping[str, str] = os.environ) -> Iterator[Collective]:
    """Meet the other hosts, and stay connected for as long as the context lasts.

    `SAGEBRUSH_COLLECTIVE_PORT` (7070) is the port of the first host's roll call, `SAGEBRUSH_HOSTS_TIMEOUT_SECONDS` (600) how
    long hosts wait for each other to come, `SAGEBRUSH_COLLECTIVE_TIMEOUT_SECONDS` (3600) how long in one sum: the fastest
    host waits for the slowest. Raises AlgorithmError naming who is missing, SettingError.
    """
    if len(job.hosts) == 1:
        yield Collective()
        return
    port = read_integer(environment, name="SAGEBRUSH_COLLECTIVE_PORT", default=DEFAULT_PORT)
    wait = read_number(environment, name="SAGEBRUSH_HOSTS_TIMEOUT_SECONDS", default=600.0)
    patience = read_integer(environment, name="SAGEBRUSH_COLLECTIVE_TIMEOUT_SECONDS", default=3600)
    rank = job.hosts.index(job.current_host)
    leader = job.hosts[0]
    from xgboost import collective
    from xgboost.core import XGBoostError
    from xgboost.tracker import RabitTracker

    tracker: Any = None
    if rank == 0:
        address = _resolve(leader)
        with _all_present(job, address=address, port=port, wait=wait) as connections:
            tracker = RabitTracker(n_workers=len(job.hosts), host_ip=address, sortby="task", timeout=round(wait))
            tracker.start()
            tracker_port = int(tracker.worker_args()["dmlc_tracker_port"])
            for connection in connections:
                connection.sendall(f"{tracker_port}\n".encode())
    else:
        tracker_port = _answer_roll(job, port=port, wait=wait)
    try:
        collective.init(
            dmlc_communicator="rabit",
            dmlc_tracker_uri=leader,
            dmlc_tracker_port=tracker_port,
            dmlc_task_id=f"{rank:06d}",
            dmlc_timeout=patience,
        )
    except XGBoostError as problem:
        raise AlgorithmError(f"the hosts can't connect to each other: {_first_line(problem)}") from problem
    _LOG.info("host %s is number %d of %d", job.current_host, rank + 1, len(job.hosts))
    yield Collective(collective.get_rank(), size=collective.get_world_size())
    # After an error there is nobody to say goodbye to: the others see the connection close.
    collective.finalize()
    if tracker is not None:
        tracker.wait_for(timeout=round(wait))


def _resolve(host: str) -> str:
    try:
        return socket.gethostbyname(host)
    except OSError as problem:
        raise AlgorithmError(f"the host {host} has no address: {problem}") from None


@contextlib.contextmanager
def _all_present(job: "TrainingInput", *, address: str, port: int, wait: float) -> Iterator[list[socket.socket]]:
    """Wait until every other host has said its name, and give the connections to them."""
    deadline = time.monotonic() + wait
    missing = set(job.hosts[1:])
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server((address, port), backlog=len(job.hosts)))
        present: list[socket.socket] = []
        while missing:
            try:
                listener.settimeout(max(deadline - time.monotonic(), 0.001))
                connection = stack.enter_context(listener.accept()[0])
            except TimeoutError:
                raise AlgorithmError(
                    f"the hosts {', '.join(sorted(missing))} did not come to {job.hosts[0]}:{port} within {wait:.0f} s"
                ) from None
            name = _read_line(connection)
            if name in missing:
                missing.discard(name)
                present.append(connection)
        yield present


def _answer_roll(job: "TrainingInput", *, port: int, wait: float) -> int:
    """Say this host's name to the first host, and return the tracker's port once all are there."""
    deadline = time.monotonic() + wait
    leader, problem = job.hosts[0], OSError("no time")
    while (left := deadline - time.monotonic()) > 0:
        try:
            with socket.create_connection((leader, port), timeout=left) as connection:
                connection.sendall(f"{job.current_host}\n".encode())
                answer = _read_line(connection, wait=left)
                if answer.isdigit():
                    return int(answer)
                problem = ConnectionError("it hung up before all hosts were there")
        except OSError as found:
            problem = found
        time.sleep(_RETRY_SECONDS)
    raise AlgorithmError(f"the host {leader}:{port} did not answer within {wait:.0f} s: {problem}")


def _read_line(connection: socket.socket, *, wait: float = _LINE_SECONDS) -> str:
    """Return what the other side says up to the end of the line; nothing where it says nothing in time."""
    received = b""
    connection.settimeout(wait)
    with contextlib.suppress(OSError):
        while not received.endswith(b"\n") and len(received) < _LONGEST_NAME:
            data = connection.recv(_LONGEST_NAME)
            if not data:
                break
            received += data
    return received.decode("utf-8", "replace").strip()


def _first_line(problem: Exception) -> str:
    lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
    return lines[0] if lines else type(problem).__name__
