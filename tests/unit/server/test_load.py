"""What a scrape shows of a server that has more to do than it can."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from sagebrush_server.algorithms.linear_learner.prediction import LinearPredictor
from sagebrush_server.counts import RequestCounts
from sagebrush_server.http.busy import BusyTime
from sagebrush_server.http.waiting import waiting_requests
from tests.unit.server.conftest import RunningServer, tiny_model
from tests.unit.server.test_metrics import LABELS, scrape
from tests.unit.server.wire import connect, post, read_reply, wait_until


class SlowModel(LinearPredictor):
    """Answers at once, or, once it is told to be slow, when it is let go."""

    def __init__(self) -> None:
        super().__init__(tiny_model())
        self.slow = False
        self.go = threading.Event()

    def predict(self, rows):
        if self.slow:
            assert self.go.wait(20)
        return super().predict(rows)


@pytest.fixture
def slow(start_server: Callable[..., RunningServer]) -> Iterator[tuple[RunningServer, SlowModel]]:
    model = SlowModel()
    yield start_server(lambda: model), model
    model.go.set()


def test_load_must_be_there_from_the_start(start_server):
    """A server that nobody has asked yet says so in numbers, refusals included: what is missing would be unknown."""
    samples = scrape(start_server())
    assert samples["sagebrush_requests_waiting", None] == (0.0, LABELS)
    assert samples["sagebrush_workers", None] == (1.0, LABELS)
    assert samples["sagebrush_busy_seconds_total", None][1] == LABELS
    assert samples["sagebrush_responses_total", "429"] == (0.0, {**LABELS, "code": "429"})
    assert samples["sagebrush_responses_total", "503"] == (0.0, {**LABELS, "code": "503"})


def test_waiting_must_count_what_has_arrived_and_is_not_begun(slow):
    """
    One request is being answered: those behind it wait, on connections old and new; it does not wait itself, nor does
    a client that keeps quiet.
    """
    running, model = slow
    with contextlib.ExitStack() as stack:
        old = [stack.enter_context(connect(running.port)) for _ in range(4)]
        for connection in old:
            connection.sendall(post(b"1,2,3"))
            with connection.makefile("rb") as stream:
                assert read_reply(stream).status == 200
        model.slow = True
        old[0].sendall(post(b"1,2,3"))
        wait_until(lambda: scrape(running)["sagebrush_requests_in_flight", None][0] == 1, about="one is begun")
        assert scrape(running)["sagebrush_requests_waiting", None][0] == 0
        new = stack.enter_context(connect(running.port))
        for connection in (old[1], old[2], new):
            connection.sendall(post(b"1,2,3"))
        wait_until(lambda: scrape(running)["sagebrush_requests_waiting", None][0] == 3, about="three wait")
        old[3].close()
        assert scrape(running)["sagebrush_requests_waiting", None][0] == 3
        model.go.set()
        wait_until(lambda: scrape(running)["sagebrush_requests_waiting", None][0] == 0, about="none waits")
        assert scrape(running)["sagebrush_invocations_total", None][0] == 8


def test_waiting_must_survive_files_that_are_closed():
    """Connections end while they are counted: their numbers are nobody's, or something else's."""
    assert waiting_requests(lambda: {10**6}, listener=10**6) == 0
    assert waiting_requests(tuple, listener=-1) == 0


def test_waiting_must_be_the_queue_that_stands():
    """Requests that came together, and are begun a moment later, are no sign of a server that cannot keep up."""
    reader, writer = socket.socketpair()
    with reader, writer:
        writer.send(b"POST")
        assert waiting_requests(lambda: {reader.fileno()}, listener=-1) == 1
        looks = iter([{reader.fileno()}, set()])
        assert waiting_requests(lambda: next(looks), listener=-1) == 0


def test_one_request_that_passes_must_be_no_queue():
    """Behind an answer of a tenth of a second one may always be waiting, and another behind the next; none stands."""
    begun = time.monotonic()
    assert waiting_requests(tuple, listener=-1, queued=lambda: int(time.monotonic() - begun < 0.1)) == 0
    assert waiting_requests(tuple, listener=-1, queued=lambda: 2) == 2
    begun = time.monotonic()
    assert waiting_requests(tuple, listener=-1, queued=lambda: 5) == 5
    assert time.monotonic() - begun < 0.2


def test_busy_must_grow_with_the_time_a_request_takes_only(slow):
    """The share of a second at work is 0 for a server that waits, and 1 for one that is held up, on the CPU or not."""
    running, model = slow
    idle = scrape(running)["sagebrush_busy_seconds_total", None][0]
    model.slow = True
    begun = time.monotonic()
    with connect(running.port) as connection:
        connection.sendall(post(b"1,2,3"))
        wait_until(lambda: time.monotonic() - begun > 0.3, about="a while of work")
        model.go.set()
        with connection.makefile("rb") as stream:
            assert read_reply(stream).status == 200
        lasted = time.monotonic() - begun
    wait_until(
        lambda: scrape(running)["sagebrush_busy_seconds_total", None][0] - idle > 0.25, about="the work is counted"
    )
    assert scrape(running)["sagebrush_busy_seconds_total", None][0] - idle < lasted + 0.2


def test_busy_must_take_the_larger_measure_of_each_stretch():
    """
    Time held up by a CPU limit shows in one measure, the loop's own work in the other; neither hides the other. The
    model's thread adds to it, and all of it is at most the time that passed.
    """
    busy = BusyTime(RequestCounts())
    looks = [(1.0, 0.5, 0.0, 10.0), (1.5, 2.0, 0.0, 20.0), (1.5, 2.0, 4.0, 30.0), (10.5, 2.0, 13.0, 40.0)]
    measures = iter(looks)
    busy._seen, busy._measures = (0.0, 0.0, 0.0, 0.0), lambda: next(measures)
    assert [busy.seconds() for _ in looks] == [1.0, 2.5, 6.5, 16.5]
