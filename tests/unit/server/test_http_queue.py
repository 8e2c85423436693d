"""Who waits for a model, who is refused, and who is not computed at all."""

import socket
import struct
import threading
import time

import pytest

from sagebrush_server.algorithms.linear_learner.prediction import LinearPredictor
from sagebrush_server.codecs.base import OneByOne
from sagebrush_server.codecs.csv_rows import CsvDecoder
from sagebrush_server.http.prediction import answer_together
from sagebrush_server.http.quick import Exchange
from tests.unit.server.conftest import tiny_model
from tests.unit.server.test_metrics import scrape
from tests.unit.server.wire import connect, post, read_reply, wait_until

ROW = b"3,1,0"


class Gate(LinearPredictor):
    """Predicts when it is let, counts what it is asked for, and looks slow from the start."""

    def __init__(self, *, slow=True):
        super().__init__(tiny_model())
        self.slow, self.open, self.calls, self.ready = slow, threading.Event(), [], False

    def predict(self, rows):
        if not self.ready:
            time.sleep(0.02 if self.slow else 0)
            return super().predict(rows)
        self.calls.append(len(rows))
        assert self.open.wait(10)
        return super().predict(rows)


@pytest.fixture
def gated(start_server):
    """Start a server of a slow model whose every prediction waits in the model's thread until it is let."""
    gates = []

    def start(**changes):
        gate = Gate()
        gates.append(gate)
        running = start_server(lambda: gate, connection_max_age=600.0, **changes)
        for _ in range(3):
            running.client().invoke(ROW)
        gate.ready = True
        return running, gate

    yield start
    for gate in gates:
        gate.open.set()


def waiting(running, number):
    wait_until(lambda: running.server.dispatcher.waiting == number, about=f"{number} wait")


def test_ping_must_be_answered_while_a_slow_model_is_at_work(gated):
    """What takes long runs in the model's thread, so the probes go on."""
    running, gate = gated()
    with connect(running.port) as connection:
        connection.sendall(post(ROW))
        wait_until(lambda: gate.calls == [1], about="the model is at work")
        assert running.client().get("/ping").status == 200
        gate.open.set()
        with connection.makefile("rb") as stream:
            assert read_reply(stream).status == 200


def test_waiting_requests_must_be_predicted_together(gated):
    """What gathered while the model was at work is its next call, and each connection gets its own answer."""
    running, gate = gated()
    connections = [connect(running.port) for _ in range(5)]
    connections[0].sendall(post(ROW))
    wait_until(lambda: gate.calls == [1], about="the model is at work")
    for number, connection in enumerate(connections[1:], start=1):
        connection.sendall(post(ROW if number % 2 else b"0,3,9"))
    waiting(running, 4)
    assert scrape(running)["sagebrush_requests_waiting", None][0] == 4
    assert scrape(running)["sagebrush_queue_depth", None][0] == 4
    assert scrape(running)["sagebrush_requests_in_flight", None][0] == 1
    gate.open.set()
    labels = []
    for connection in connections:
        with connection, connection.makefile("rb") as stream:
            labels.append(read_reply(stream).json["predictions"][0]["predicted_label"])
    assert labels == [1, 1, 0, 1, 0]
    assert sum(gate.calls) == 5
    assert len(gate.calls) < 5


def test_request_over_the_limit_must_be_refused_at_once(gated):
    """503 with Retry-After while the others wait on; the metrics say why."""
    running, gate = gated(max_waiting=2)
    connections = [connect(running.port) for _ in range(4)]
    connections[0].sendall(post(ROW))
    wait_until(lambda: gate.calls == [1], about="the model is at work")
    for connection in connections[1:3]:
        connection.sendall(post(ROW))
    waiting(running, 2)
    reply = running.client().invoke(ROW)
    assert (reply.status, reply.headers["retry-after"]) == (503, "1")
    assert "SAGEBRUSH_MAX_WAITING_REQUESTS" in reply.json["error"]
    assert scrape(running)["sagebrush_refused_total", "QueueFull"][0] == 1
    assert scrape(running)["sagebrush_responses_total", "503"][0] == 1
    gate.open.set()
    for connection in connections[:3]:
        with connection.makefile("rb") as stream:
            assert read_reply(stream).status == 200
    for connection in connections:
        connection.close()


def test_bodies_that_wait_must_be_bounded_in_bytes(gated):
    """Few large requests fill the queue as many small ones do; one alone is always taken."""
    body = b"\n".join([ROW] * 100)
    running, gate = gated(max_waiting_bytes=1000)
    connections = [connect(running.port) for _ in range(2)]
    connections[0].sendall(post(ROW))
    wait_until(lambda: gate.calls == [1], about="the model is at work")
    connections[1].sendall(post(body))
    waiting(running, 1)
    assert running.client().invoke(body).status == 503
    gate.open.set()
    for connection in connections:
        with connection, connection.makefile("rb") as stream:
            assert read_reply(stream).status == 200


def test_request_that_waited_too_long_must_not_be_computed(gated):
    """Its client has given up, or will not use the answer: 503 instead of work."""
    running, gate = gated(max_wait=0.05)
    first, late = connect(running.port), connect(running.port)
    with first, late:
        first.sendall(post(ROW))
        wait_until(lambda: gate.calls == [1], about="the model is at work")
        late.sendall(post(ROW))
        waiting(running, 1)
        time.sleep(0.06)
        gate.open.set()
        with late.makefile("rb") as stream:
            reply = read_reply(stream)
    assert (reply.status, gate.calls) == (503, [1])
    assert "SAGEBRUSH_MAX_WAIT_SECONDS" in reply.json["error"]
    assert scrape(running)["sagebrush_refused_total", "WaitedTooLong"][0] == 1


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def close_later(connection):
    """As a client does whose own time limit is over."""
    time.sleep(0.6)
    connection.close()


@pytest.mark.parametrize("leave", [reset, close_later])
def test_request_whose_client_has_gone_must_not_be_computed(gated, leave):
    """Neither after a reset, nor after an ordinary close long after the request."""
    running, gate = gated()
    with connect(running.port) as first:
        first.sendall(post(ROW))
        wait_until(lambda: gate.calls == [1], about="the model is at work")
        gone = connect(running.port)
        gone.sendall(post(ROW))
        waiting(running, 1)
        leave(gone)
        wait_until(lambda: len(running.server.connections) == 1, about="the server knows")
        gate.open.set()
        with first.makefile("rb") as stream:
            assert read_reply(stream).status == 200
        waiting(running, 0)
    wait_until(lambda: scrape(running)["sagebrush_refused_total", "ClientGone"][0] == 1, about="it is counted")
    assert gate.calls == [1]


def test_client_that_ends_its_side_with_its_request_must_get_its_answers(gated):
    """Half-closing behind the last request says that no more will be asked, not that nobody listens."""
    running, gate = gated()
    with connect(running.port) as connection:
        connection.sendall(post(ROW) + post(b"0,3,9"))
        connection.shutdown(socket.SHUT_WR)
        wait_until(lambda: sum(gate.calls) >= 1, about="the model is at work")
        gate.open.set()
        with connection.makefile("rb") as stream:
            replies = [read_reply(stream), read_reply(stream), read_reply(stream)]
    assert [reply and reply.status for reply in replies] == [200, 200, None]
    assert replies[1].headers["connection"] == "close"


def test_pipelined_answers_must_keep_their_order_whoever_gives_them(gated):
    """Answers that are ready at once (a ping, a refusal) wait for the slow one before them."""
    running, gate = gated()
    stream_of = post(ROW) + b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n" + post(b"") + post(b"1,2") + post(b"0,3,9")
    with connect(running.port) as connection, connection.makefile("rb") as stream:
        connection.sendall(stream_of)
        wait_until(lambda: len(gate.calls) == 1, about="the model is at work")
        gate.open.set()
        replies = [read_reply(stream) for _ in range(5)]
    assert [reply.status for reply in replies] == [200, 200, 204, 400, 200]
    assert replies[4].json["predictions"][0]["predicted_label"] == 0


def took_all(connection, data):
    try:
        connection.sendall(data)
    except TimeoutError:
        return False
    return True


def test_client_that_pipelines_without_end_must_be_held_back(gated):
    """Requests behind an answer that takes its time stay in the kernel once there are many."""
    running, gate = gated()
    with connect(running.port) as connection:
        connection.sendall(post(ROW))
        wait_until(lambda: gate.calls == [1], about="the model is at work")
        connection.settimeout(0.5)
        ping = b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n" * 1000
        assert not took_all(connection, ping * 2000)
        (server_side,) = running.server.connections
        assert len(server_side._exchanges) < 20_000
        gate.open.set()
        connection.settimeout(10)
        with connection.makefile("rb") as stream:
            statuses = {read_reply(stream).status for _ in range(20_000)}
        assert statuses == {200}


def test_quick_predictions_must_stay_on_the_loop(start_server):
    """A hop to another thread would cost more than they do."""
    running = start_server()
    for _ in range(20):
        assert running.client().invoke(ROW).status == 200
    assert running.server.dispatcher.thread.busy_seconds() == 0


def asking(ask, body):
    """A request that has come to the point where the model is asked."""
    return Exchange(None, None, ask, body, 0.0)


class Together(OneByOne):
    """Reads any number of CSV bodies at once."""

    def decode_together(self, bodies, *, feature_dim):
        rows = [CsvDecoder().decode(body, feature_dim=feature_dim) for body in bodies]
        import numpy as np

        return np.concatenate(rows), [len(part) for part in rows]


class Counting(LinearPredictor):
    def __init__(self):
        super().__init__(tiny_model())
        self.calls = 0

    def predict(self, rows):
        self.calls += 1
        return super().predict(rows)


@pytest.mark.parametrize("kind", [Together, OneByOne])
def test_requests_together_must_get_what_each_would_get_alone(kind):
    """Bad rows among good ones, rows that can't be scored, several rows: each answer is the very one of a lone request."""
    from sagebrush_server.codecs.negotiation import encoder_for
    from sagebrush_server.http.messages import Ask
    from sagebrush_server.http.served import Served

    model = Counting()
    served = Served("m", model=model)
    decoder = kind("text/csv", CsvDecoder().decode)
    asks = [
        Ask(served, decoder=decoder, encoder=encoder_for(accept, default="")) for accept in ("text/csv", "*/json")[:1]
    ]
    asks.append(
        Ask(served, decoder=decoder, encoder=encoder_for("application/json", default=""), headers=(("A", "b"),))
    )
    good = [ROW, b"0,3,9\n1,1,1", b"3,1,0\n", ROW]
    bad = [b"1,2", b"1e308,-1e308,0", b"x,1,2", b"nan,1,2"]
    for bodies, calls in ((good, 1), ([*good, *bad], None), (bad, None), ([ROW], 1)):
        group = [asking(asks[number % 2], body) for number, body in enumerate(bodies)]
        model.calls = 0
        answer_together(group)
        assert calls is None or model.calls == calls
        for exchange in group:
            alone = asking(exchange.ask, exchange.body)
            answer_together([alone])
            assert (exchange.lead, exchange.payload, exchange.answer) == (alone.lead, alone.payload, alone.answer)
            assert (exchange.lead is None) != (exchange.answer is None)
