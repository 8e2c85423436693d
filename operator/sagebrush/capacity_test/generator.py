"""
The load: requests sent at fixed moments, whatever the answers do (open loop), or as fast as connections go (closed).

An open loop is how users behave: they don't wait for one another. Latency counts from the moment at which a request was
due, so that a replica that stalls is charged for all that piled up meanwhile, and not only for the one that it held
("coordinated omission": G. Tene, *How NOT to Measure Latency*, 2013).
"""

import asyncio
import contextlib
import itertools
import random
import ssl
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from sagebrush.capacity_test.connection import NO_ANSWER, Connection, Exchange
from sagebrush.capacity_test.measurement import REFUSED, Bound, Step

MOST_CONNECTIONS = 512
_CONNECT_SECONDS = 10.0
_SEED = 20260101


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go. *payloads* are whole HTTP requests, sent in turn."""

    host: str
    port: int
    payloads: tuple[bytes, ...]
    tls: ssl.SSLContext | None = None
    timeout: float = 30.0
    """Seconds after which a request counts as failed."""

    @classmethod
    def of(
        cls, url: str, *, bodies: Sequence[bytes], content_type: str, accept: str | None, timeout: float
    ) -> "Target":
        """From an http or https URL; the path /invocations where it has none."""
        parts = urlsplit(url)
        tls = ssl.create_default_context() if parts.scheme == "https" else None
        host, port = parts.hostname or "", parts.port or (443 if tls else 80)
        path = parts.path if parts.path not in ("", "/") else "/invocations"
        path += f"?{parts.query}" if parts.query else ""
        head = f"POST {path} HTTP/1.1\r\nHost: {parts.netloc.rpartition('@')[2]}\r\nContent-Type: {content_type}\r\n"
        head += f"Accept: {accept}\r\n" if accept else ""
        payloads = tuple(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body for body in bodies)
        return cls(host, port, payloads, tls, timeout)


class Generator:
    """Sends the load of one step after another over one pool of connections. At most *most_requests* in all."""

    def __init__(self, target: Target, bound: Bound, *, most_requests: int) -> None:
        self._target, self._bound = target, bound
        self.left = most_requests
        self._payloads = itertools.cycle(target.payloads)
        self._random = random.Random(_SEED)  # noqa: S311 - spacing of requests; the same each time
        self._open: set[Connection] = set()
        self._idle: list[Connection] = []
        self._waiting: deque[Exchange] = deque()
        self._order: deque[Exchange] = deque()
        self._connecting: set[asyncio.Task[None]] = set()
        self._connect_limit = 1
        self._step: Step | None = None
        self._again: Callable[[], None] | None = None
        self._under_way = 0
        self._settled = asyncio.Event()
        self._settled.set()
        self._loop = asyncio.get_running_loop()
        self.connect_error = ""
        self.last: Exchange | None = None
        """The newest request that is over, with its answer."""
        self.observe: Callable[[Exchange, float], None] | None = None
        """Is told of each request that is over, and the time at which it was, on the event loop's clock."""

    async def close(self) -> None:
        """Drop all connections."""
        for task in self._connecting:
            task.cancel()
        for connection in list(self._open):
            connection.abort()
        await asyncio.sleep(0)

    async def closed(self, concurrency: int, *, seconds: float, most: int | None = None) -> Step:
        """So many connections, each sending again as soon as it has its answer; at most *most* requests."""
        step = Step("connections", 0.0, concurrency, self._bound)
        end = self._loop.time() + seconds
        left = self.left if most is None else min(most, self.left)
        started = 0

        def again() -> None:
            nonlocal started
            now = self._loop.time()
            if now < end and started < left and not step.errors:
                started += 1
                self._dispatch(Exchange(next(self._payloads), now), now=now)

        async def send() -> None:
            for _ in range(concurrency):
                again()
            await self._until_settled(step, deadline=end + self._target.timeout)

        await self._measured(step, send(), limit=concurrency, again=again)
        return step

    async def open(self, rate: float, *, seconds: float, give_up: bool = True) -> Step:
        """
        Exactly ``rate × seconds`` requests at random moments of *seconds*, as independent users send them: a Poisson
        process whose count is known, so that chance does not change the rate itself.

        With *give_up* the step is broken off once far more are late than the bound allows.
        """
        count = max(1, round(rate * seconds))
        moments = sorted(self._random.uniform(0, seconds) for _ in range(min(count, self.left + 1)))
        return await self.follow(moments, rate=rate, give_up=give_up)

    async def follow(self, moments: Iterable[float], *, rate: float = 0.0, give_up: bool = False) -> Step:
        """A request at each of *moments*: seconds from now, ascending."""
        step = Step("rate", rate, 0, self._bound)

        async def send() -> None:
            await self._send_open(step, moments, give_up=give_up)
            await self._until_settled(step, deadline=self._loop.time() + self._target.timeout)

        await self._measured(step, send(), limit=MOST_CONNECTIONS, again=None)
        return step

    async def _send_open(self, step: Step, moments: Iterable[float], *, give_up: bool) -> None:
        begun = self._loop.time()
        hopeless = 10 + 3 * self._bound.allowed(int(step.rate))
        for moment in moments:
            due = begun + moment
            pause = due - self._loop.time()
            if pause > 0:
                await asyncio.sleep(pause)
            now = self._loop.time()
            step.due_seconds = moment
            if self.left <= 0:
                step.broken_off = "the limit on requests was reached (--max-requests)"
                return
            self._dispatch(Exchange(next(self._payloads), due), now=now)
            step.concurrency = max(step.concurrency, self._under_way)
            if not give_up:
                continue
            if step.over + self._overdue(now, most=hopeless) > hopeless:
                step.broken_off = "too many are late" if not step.errors else "too many fail"
                return

    def _overdue(self, now: float, *, most: int) -> int:
        """Requests on their way that are late already; counted up to *most*."""
        while self._order and self._order[0].over:
            self._order.popleft()
        counted = 0
        for exchange in self._order:
            if exchange.intended > now - self._bound.seconds or counted > most:
                break
            counted += not exchange.over
        return counted

    async def _measured(
        self, step: Step, sending: Coroutine[Any, Any, None], *, limit: int, again: Callable[[], None] | None
    ) -> None:
        self._step, self._again, self._connect_limit = step, again, limit
        self.connect_error = ""
        begun, cpu = self._loop.time(), time.process_time()
        await sending
        step.seconds = max(self._loop.time() - begun, 1e-9)
        step.cpu_share = (time.process_time() - cpu) / step.seconds
        self._step = self._again = None

    def _dispatch(self, exchange: Exchange, *, now: float) -> None:
        self.left -= 1
        self._under_way += 1
        if self._step is not None:
            self._step.lags.append(now - exchange.intended)
        self._settled.clear()
        self._order.append(exchange)
        while self._order[0].over:
            self._order.popleft()
        self._route(exchange, now=now)

    def _route(self, exchange: Exchange, *, now: float) -> None:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                connection.send(exchange, now=now)
                return
        self._waiting.append(exchange)
        if len(self._open) + len(self._connecting) < self._connect_limit:
            task = self._loop.create_task(self._connect())
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)

    async def _connect(self) -> None:
        target = self._target
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                _, connection = await self._loop.create_connection(
                    lambda: Connection(done=self._answered, lost=self._lost), target.host, target.port, ssl=target.tls
                )
        except (OSError, TimeoutError) as error:
            self.connect_error = str(error) or f"no connection within {_CONNECT_SECONDS:g} s"
            if self._waiting:
                exchange = self._waiting.popleft()
                exchange.problem = f"can't connect: {self.connect_error}"
                self._over(exchange)
            return
        self._open.add(connection)
        self._free(connection)

    def _free(self, connection: Connection) -> None:
        """A connection can take the next request that waits, or lies ready."""
        if self._waiting:
            connection.send(self._waiting.popleft(), now=self._loop.time())
        else:
            self._idle.append(connection)

    def _answered(self, connection: Connection, exchange: Exchange) -> None:
        self._over(exchange)
        if connection.is_open:
            self._free(connection)

    def _lost(self, connection: Connection, exchange: Exchange | None) -> None:
        self._open.discard(connection)
        with contextlib.suppress(ValueError):
            self._idle.remove(connection)
        if exchange is None:
            if self._waiting:
                self._route(self._waiting.popleft(), now=self._loop.time())
            return
        # A server may close an idle connection at the very moment at which the next request is sent on it: that
        # request was not looked at, and is sent again (RFC 9112, section 9.3.1; a prediction changes nothing).
        if connection.answered and not exchange.retried and not exchange.problem.startswith("not"):
            exchange.retried, exchange.problem = True, ""
            self._route(exchange, now=self._loop.time())
            return
        self._over(exchange)

    def _over(self, exchange: Exchange) -> None:
        self._under_way -= 1
        exchange.over = True
        self.last = exchange
        step = self._step
        if step is not None:
            if 200 <= exchange.status < 300:
                step.answered(self._loop.time() - exchange.intended)
            elif exchange.status in REFUSED:
                step.refuse()
            else:
                step.fail(_words(exchange))
        if self.observe is not None:
            self.observe(exchange, self._loop.time())
        if self._again is not None:
            self._again()
        if self._under_way == 0:
            self._settled.set()

    async def _until_settled(self, step: Step, *, deadline: float) -> None:
        """Wait for what is on its way; what isn't answered by then has failed."""
        if step.broken_off:
            for exchange in self._waiting:
                exchange.over = True
            step.unsent += len(self._waiting)
            self._under_way -= len(self._waiting)
            self._waiting.clear()
            if self._under_way == 0:
                return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                await self._settled.wait()
        if self._under_way:
            self._again = None
            step.fail(f"no answer within {self._target.timeout:g} s", number=self._under_way)
            self._step = None
            self._waiting.clear()
            self._order.clear()
            for connection in list(self._open):
                if connection.exchange is not None:
                    connection.exchange.retried = True
                    connection.abort()
            for _ in range(100):
                if not any(connection.exchange for connection in self._open):
                    break
                await asyncio.sleep(0.01)
            self._under_way = 0
            self._settled.set()


def _words(exchange: Exchange) -> str:
    if exchange.status == NO_ANSWER:
        return exchange.problem[:200]
    text = " ".join(exchange.body.decode("utf-8", "replace").split())[:200]
    return f"HTTP {exchange.status}{': ' + text if text else ''}"
