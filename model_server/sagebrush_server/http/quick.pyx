"""The way that nearly all requests go, compiled; see quick.pyi for what everything is."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE

import time
from collections import deque

cdef extern from "<string.h>" nogil:
    void* memmem(const void* text, size_t size, const void* part, size_t part_size)

END = b"\r\n\r\n"
cdef Py_ssize_t MOST_LENGTHS = 1024


cdef class Lead:
    cdef readonly bytes text
    cdef dict _heads

    def __init__(self, bytes text):
        self.text = text
        self._heads = {}

    cpdef bytes head(self, Py_ssize_t length):
        found = self._heads.get(length)
        if found is None:
            found = b"%b%d\r\n\r\n" % (self.text, length)
            if len(self._heads) >= MOST_LENGTHS:
                self._heads.clear()
            self._heads[length] = found
        return found


cdef class Exchange:
    cdef readonly object connection, head
    cdef public object ask, answer, stream
    cdef public bytes body, payload
    cdef public Lead lead
    cdef public double arrived, queued
    cdef public bint bare

    def __init__(self, connection, head, ask, bytes body, double arrived):
        self._fill(connection, head, ask, body)
        self.arrived = self.queued = arrived

    cdef int _fill(self, connection, head, ask, bytes body) except -1:
        self.connection = connection
        self.head = head
        self.ask = ask
        self.body = body
        self.payload = b""
        return 0

    @property
    def done(self):
        return self.bare or self.lead is not None or self.answer is not None or self.stream is not None

    @property
    def status(self):
        if self.answer is not None:
            return self.answer.status
        return self.stream.status if self.stream is not None else 200

    @property
    def counts(self):
        return self.ask is not None or (self.head is not None and self.head.is_invocation)

    @property
    def about(self):
        if self.head is None:
            return "what is no request"
        trace = self.head.headers.get(b"traceparent", b"").decode("latin-1")
        return f"{self.head.method} {self.head.path.decode('latin-1')}" + (f" (trace {trace})" if trace else "")


cdef class Arrivals:
    cdef object _turn, _loop
    cdef readonly list pending
    cdef readonly double began
    cdef public Py_ssize_t room
    cdef public bint alone

    def __init__(self, *, turn, Py_ssize_t room, loop):
        self._turn = turn
        self._loop = loop
        self.pending = []
        self.room = room

    def add(self, Exchange exchange not None):
        self._add(exchange)

    cdef int _add(self, Exchange exchange) except -1:
        if not self.pending:
            self.began = time.monotonic()
            # Alone, nobody else's request can come in this turn of the loop: it is answered at once, by `answer_now`.
            if not self.alone:
                self._loop.call_soon(self._turn)
        exchange.queued = self.began
        self.pending.append(exchange)
        return 0

    cpdef answer_now(self):
        if self.alone and self.pending:
            self._turn()

    def take(self, Py_ssize_t most):
        cdef list taken = self.pending
        if len(taken) > most:
            self.pending = taken[most:]
            del taken[most:]
            # The rest waits for the next turn, so that reading and accepting get theirs.
            self.began = time.monotonic()
            self._loop.call_soon(self._turn)
        else:
            self.pending = []
        return taken


cdef class QuickConnection:
    cdef dict _known
    cdef readonly Arrivals _arrivals
    cdef readonly object _exchanges
    cdef public object _transport, _paused_since
    cdef public bint lost, _between
    cdef public double _quiet_since, _carefree_until

    def __init__(self, *, dict known not None, Arrivals arrivals not None):
        self._known = known
        self._arrivals = arrivals
        self._exchanges = deque()
        self._between = True

    def data_received(self, bytes data not None):
        cdef const char* text = PyBytes_AS_STRING(data)
        cdef const char* found
        cdef Py_ssize_t start = 0, size = PyBytes_GET_SIZE(data), end, stop
        cdef Arrivals arrivals = self._arrivals
        cdef Exchange exchange
        if self._between:
            while True:
                found = <const char*>memmem(text + start, size - start, b"\r\n\r\n", 4)
                if found == NULL:
                    break
                end = found - text + 4
                head = self._known.get(PyBytes_FromStringAndSize(text + start, end - start))
                if head is None:
                    break
                stop = end + <Py_ssize_t>head.length
                if stop > size or len(arrivals.pending) >= arrivals.room:
                    break
                # Without __init__, whose arguments would have to become Python's first.
                exchange = Exchange.__new__(Exchange)
                exchange._fill(self, head, head.ask, PyBytes_FromStringAndSize(text + end, stop - end))
                arrivals._add(exchange)
                exchange.arrived = exchange.queued
                self._exchanges.append(exchange)
                if stop == size:
                    arrivals.answer_now()
                    return
                start = stop
            if start:
                data = data[start:]
        self.read_on(data)

    def give(self, Exchange exchange not None, double now):
        return self._give(exchange, now)

    cdef bint _give(self, Exchange exchange, double now) except -1:
        cdef Lead lead = exchange.lead
        if len(self._exchanges) == 1 and now < self._carefree_until and lead is not None:
            self._exchanges.clear()
            self._quiet_since = now
            self._transport.write(lead.head(len(exchange.payload)) + exchange.payload)
            if self._paused_since is None:
                return True
            self.account([exchange])
        else:
            self.flush()
        return False


def of_one_ask(list group not None):
    cdef Exchange exchange
    ask = (<Exchange?>group[0]).ask
    for exchange in group:
        if exchange.ask is not ask:
            return False
    return True


def all_there(list group not None):
    cdef Exchange exchange
    for exchange in group:
        if _is_lost(exchange.connection):
            return False
    return True


cdef inline bint _is_lost(connection) except -1:
    return (<QuickConnection>connection).lost if isinstance(connection, QuickConnection) else connection.lost


def bodies_of(list group not None):
    cdef Exchange exchange
    return [exchange.body for exchange in group]


def set_answers(list group not None, Lead lead not None, list bodies not None):
    cdef Exchange exchange
    cdef Py_ssize_t place
    if len(group) != len(bodies):
        raise ValueError(f"{len(bodies)} answers to {len(group)} requests")
    for place in range(len(bodies)):
        exchange = group[place]
        exchange.payload = bodies[place]
        exchange.lead = lead


def give_all(list group not None, double now):
    cdef Exchange exchange
    cdef Py_ssize_t size = 0, number = 0
    cdef bint written
    cdef double arrived = (<Exchange?>group[0]).arrived
    cdef list others = []
    for exchange in group:
        size += len(exchange.payload)
        connection = exchange.connection
        if isinstance(connection, QuickConnection):
            written = (<QuickConnection>connection)._give(exchange, now)
        else:
            written = connection.give(exchange, now)
        if written:
            if exchange.arrived == arrived:
                number += 1
            else:
                others.append(exchange)
    return size, number, others
