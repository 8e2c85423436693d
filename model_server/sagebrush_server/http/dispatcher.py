"""Which requests are predicted together, where, and which are not computed at all.

Requests that were read in one turn of the event loop are predicted together in the next step of the loop; nobody waits
for others to come. What is known to take long goes to the model's thread, where requests gather while it is at work.
"""

import asyncio
import functools
import time
from collections import deque
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from sagebrush_server.codecs.errors import RequestError
from sagebrush_server.http.application import failure
from sagebrush_server.http.groups import Key, grouped, key_of
from sagebrush_server.http.messages import Answer, Ask, refusal
from sagebrush_server.http.model_thread import ModelThread
from sagebrush_server.http.prediction import answer_together
from sagebrush_server.http.quick import Arrivals, give_all
from sagebrush_server.http.relay import Relay, abandon
from sagebrush_server.http.responding import await_reply, respond

if TYPE_CHECKING:
    from sagebrush_server.algorithms.responder import Reply
    from sagebrush_server.counts import RequestCounts
    from sagebrush_server.http.quick import Exchange
    from sagebrush_server.http.settings import ServeSettings

_MOST_TOGETHER: Final = 256
_QUICK_SECONDS: Final = 0.01
"""What is expected to take longer than that is no work for the event loop."""
_THREAD_SECONDS: Final = 0.1
"""How long a group in the model's thread should take at most, where it is more than one request."""
_HAND_BACK_SECONDS: Final = 0.005
_GATHER_SECONDS: Final = 0.005
"""How long answers of the model's thread gather before they are written."""

Lane = deque["Exchange"]


class Dispatcher:
    """The queue of one process. Lives on the event loop; `_work*` and what it calls run in the model's thread.

    `arrivals` is what this turn of the loop has read.
    """

    def __init__(self, settings: "ServeSettings", *, counts: "RequestCounts", loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.thread = ModelThread()
        self.arrivals = Arrivals(turn=self.turn, room=settings.max_waiting, loop=loop)
        self.last_activity = loop.time()
        self._settings = settings
        self._counts = counts
        self._lanes: dict[Key, Lane] = {}
        self._lane_bytes = 0
        self._done: deque[Callable[[], None]] = deque()
        self._delivering = self._looking = False
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def waiting(self) -> int:
        """The number of requests that are read and not begun."""
        return len(self.arrivals.pending) + sum(map(len, list(self._lanes.values())))

    # --- what comes in ---

    def take(self, exchange: "Exchange", reply: Answer | Ask | Awaitable[Answer | Ask]) -> None:
        """Take what the application says a request gets."""
        if isinstance(reply, Answer):
            exchange.answer = reply
            if exchange.counts:
                self._counts.invocations += 1
                if reply.status == HTTPStatus.SERVICE_UNAVAILABLE:
                    self._counts.refuse("NotReady")
        elif isinstance(reply, Ask):
            relay = None if reply.then is None else Relay(exchange, ask=reply, runner=self)
            exchange = exchange if relay is None else relay.inner
            exchange.ask, exchange.body = reply, reply.body
            if self.waiting >= self._settings.max_waiting:
                self._refuse(exchange, reason="QueueFull")
                self._counts.invocations += 1
                if relay is not None:
                    relay.settle()
                return
            self.arrivals.add(exchange)
        else:
            self._spawn(self._await(exchange, reply))

    async def _await(self, exchange: "Exchange", reply: Awaitable[Answer | Ask]) -> None:
        try:
            answer: Answer | Ask = await reply
        except RequestError as refused:
            answer = refusal(refused.status, message=str(refused))
        except Exception:  # noqa: BLE001 – one request must not end the process; logged with its id
            answer = failure(exchange.about)
        if not exchange.connection.lost:
            self.take(exchange, answer)
            self.arrivals.answer_now()
            exchange.connection.flush()
        elif isinstance(answer, Ask):
            abandon(answer)

    def _refuse(self, exchange: "Exchange", *, reason: str) -> None:
        self._counts.refuse(reason)
        limit = self._settings.max_wait
        why = {
            "QueueFull": "too many requests wait already (SAGEBRUSH_MAX_WAITING_REQUESTS, SAGEBRUSH_MAX_WAITING_MB)",
            "WaitedTooLong": f"the request has waited for {limit:g} s (SAGEBRUSH_MAX_WAIT_SECONDS)",
        }[reason]
        headers = exchange.ask.headers if exchange.ask is not None else ()
        exchange.answer = refusal(503, message=why, headers=(*headers, ("Retry-After", "1")))

    # --- a turn of the loop ---

    def turn(self) -> None:
        """Answer what has arrived, or hand it to the model's thread."""
        began = self.arrivals.began
        pending = self.arrivals.take(_MOST_TOGETHER)
        if not pending:
            # Answered already: the last of the other connections has gone since the loop was asked for this turn.
            return
        self.last_activity = self.loop.time()
        self._counts.invocations += len(pending)
        groups, gone = grouped(pending)
        for _ in range(gone):
            self._counts.refuse("ClientGone")
        for group in groups:
            served = group[0].ask.served  # type: ignore[union-attr]
            size = sum([len(exchange.body) for exchange in group])
            if served.responder is None and served.expected_seconds(size) <= _QUICK_SECONDS:
                self._answer_here(group, size=size, began=began)
            else:
                self._queue(group)
            self._counts.request_bytes += size
        self._counts.handling_seconds += time.monotonic() - began

    def _answer_here(self, group: "list[Exchange]", *, size: int, began: float) -> None:
        counts, number = self._counts, len(group)
        start = time.monotonic()
        counts.in_flight += number
        rows = answer_together(group)
        seconds = time.monotonic() - start
        # Whatever can be done when the answers are on their way.
        self._give(group)
        if rows:
            group[0].ask.served.observe(seconds, size=size)  # type: ignore[union-attr]
        counts.in_flight -= number
        counts.predicted(requests=number, rows=rows, queued=start - began, seconds=seconds)

    def _give(self, group: "list[Exchange]") -> None:
        """Write the answers. Those that were written the quick way are accounted for together."""
        counts = self._counts
        size, sent, others = give_all(group, self.loop.time())
        counts.response_bytes += size
        now = time.monotonic()
        if sent:
            counts.responses.add(200, times=sent)
            counts.duration.observe(now - group[0].arrived, times=sent)
        for exchange in others:
            counts.responses.add(200)
            counts.duration.observe(now - exchange.arrived)

    # --- the model's thread ---

    def in_thread(self, work: Callable[[], None]) -> None:
        """Do `work` in the model's thread."""
        self.thread.do(work)

    def later(self, work: Callable[[], None]) -> None:
        """Do `work` on the event loop; for the model's thread."""
        self._done.append(work)
        self._wake()

    def _wake(self) -> None:
        if self._done and not self._delivering:
            self._delivering = True
            self.loop.call_soon_threadsafe(self._deliver)

    def _queue(self, group: "list[Exchange]") -> None:
        key = key_of(group[0])
        lane = self._lanes.setdefault(key, deque())
        for exchange in group:
            size = len(exchange.body)
            if self._lane_bytes and self._lane_bytes + size > self._settings.max_waiting_bytes:
                self._refuse(exchange, reason="QueueFull")
                exchange.connection.flush()
            else:
                self._lane_bytes += size
                lane.append(exchange)
        self.arrivals.room = self._settings.max_waiting - sum(map(len, self._lanes.values()))
        self.thread.do(functools.partial(self._work, lane))
        if not self._looking:
            self._look()

    def _look(self) -> None:
        """Write what has been answered meanwhile, and look again soon while requests wait for the thread."""
        self._looking = bool(self._lanes)
        self._deliver()
        if self._looking:
            self.loop.call_later(_GATHER_SECONDS, self._look)

    def _work(self, lane: Lane) -> None:
        until = time.monotonic() + _HAND_BACK_SECONDS
        while lane:
            group, refused = self._next_group(lane)
            if refused:
                self._done.append(functools.partial(self._drop, refused))
            if group:
                self._work_at(group)
            if time.monotonic() > until:
                break
        # Once for all of them, since each waking makes the two threads fight for the interpreter.
        self._wake()
        if lane:
            # Streams and other models get their turn.
            self.thread.do(functools.partial(self._work, lane))

    def _next_group(self, lane: Lane) -> "tuple[list[Exchange], list[Exchange]]":
        """Take from the lane what is to be answered together, and what is too late to be answered at all."""
        group: list[Exchange] = []
        refused: list[Exchange] = []
        size, oldest = 0, time.monotonic() - self._settings.max_wait
        while lane and len(group) < _MOST_TOGETHER:
            served = lane[0].ask.served  # type: ignore[union-attr]
            size += len(lane[0].body)
            if group and (served.responder is not None or served.expected_seconds(size) > _THREAD_SECONDS):
                break
            exchange = lane.popleft()
            late = exchange.connection.lost or exchange.queued < oldest
            (refused if late else group).append(exchange)
        return group, refused

    def _work_at(self, group: "list[Exchange]") -> None:
        served = group[0].ask.served  # type: ignore[union-attr]
        size = sum(len(exchange.body) for exchange in group)
        start = time.monotonic()
        self._counts.computing = len(group)
        awaitable, rows = None, 0
        if served.responder is not None:
            awaitable = respond(group[0], runner=self)
        else:
            rows = answer_together(group)
        seconds = time.monotonic() - start
        if rows:
            served.observe(seconds, size=size)
        self._counts.computing = 0
        if awaitable is not None:
            self._done.append(functools.partial(self._await_reply, group[0], awaitable, start))
        else:
            self._done.append(functools.partial(self._answered, group, rows, start, seconds))

    def _deliver(self) -> None:
        # Before the first look: what is added behind the last one then asks for another delivery.
        self._delivering = False
        while self._done:
            self._done.popleft()()
        for key in [key for key, lane in self._lanes.items() if not lane]:
            del self._lanes[key]
        self.arrivals.room = self._settings.max_waiting - sum(map(len, self._lanes.values()))

    def _drop(self, refused: "list[Exchange]") -> None:
        for exchange in refused:
            self._lane_bytes -= len(exchange.body)
            if exchange.connection.lost:
                self._counts.refuse("ClientGone")
                abandon(exchange.ask)
            else:
                self._refuse(exchange, reason="WaitedTooLong")
                exchange.connection.flush()

    def _answered(self, group: "list[Exchange]", rows: int, start: float, seconds: float) -> None:
        for exchange in group:
            self._lane_bytes -= len(exchange.body)
        queued = sum(start - exchange.queued for exchange in group) / len(group)
        self._counts.predicted(requests=len(group), rows=rows, queued=max(queued, 0.0), seconds=seconds)
        self.last_activity = self.loop.time()
        self._give(group)

    def _await_reply(self, exchange: "Exchange", awaitable: "Awaitable[Reply]", start: float) -> None:
        self._spawn(self._awaited(exchange, awaitable, start))

    async def _awaited(self, exchange: "Exchange", awaitable: "Awaitable[Reply]", start: float) -> None:
        self._counts.in_flight += 1
        try:
            await await_reply(exchange, awaitable=awaitable, runner=self)
        finally:
            self._counts.in_flight -= 1
        self._answered([exchange], 0, start, time.monotonic() - start)

    def _spawn(self, work: "Awaitable[None]") -> None:
        task = asyncio.ensure_future(work, loop=self.loop)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
