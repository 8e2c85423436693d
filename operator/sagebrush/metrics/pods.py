"""The request metrics out of the pods themselves, every second, without any Prometheus between."""

import asyncio
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta

import aiohttp

from sagebrush.core.scaling.window import Problem, Readings, unknown
from sagebrush.metrics.answer import SeriesKey
from sagebrush.metrics.exposition import ExpositionError, parse_exposition
from sagebrush.metrics.load import Load
from sagebrush.metrics.pod_samples import PodSamples, VariantSamples, at_of
from sagebrush.metrics.query_api import body_of, cause_of
from sagebrush.metrics.targets import FindTargets, PodAddress

INTERVAL = timedelta(seconds=1)
TIMEOUT_SECONDS = 0.5
MOST_PODS = 200
"""Pods of one variant that are read; of more, these many stand for all."""
_AT_ONCE = 100
_LONGEST_ANSWER_BYTES = 1024 * 1024
_TIME_OUTS_UNTIL_RARE = 3
_ROUNDS_BETWEEN_RARE = 4
_HEADERS = {"Accept": "text/plain; version=0.0.4", "Accept-Encoding": "identity"}

_logger = logging.getLogger(__name__)

Callback = Callable[[frozenset[SeriesKey]], Awaitable[None] | None]


def steady_clock() -> Callable[[], float]:
    """Seconds since 1970 that never jump: the wall clock as it was at this call, and from then on the monotonic one."""
    offset = time.time() - time.monotonic()
    return lambda: offset + time.monotonic()


class PodsSource:
    """Reads the metrics of the pods that *targets* names, again and again, and keeps two minutes of samples.

    A pod that does not answer in time three times in a row is asked in every fourth round only, so that pods that hang
    delay no others. *clock* gives seconds since 1970, and stamps all samples.
    """

    def __init__(
        self, targets: FindTargets, *, interval: timedelta = INTERVAL, clock: Callable[[], float] | None = None
    ) -> None:
        self._targets = targets
        self._interval = interval
        self._clock = clock or steady_clock()
        self._variants: dict[SeriesKey, VariantSamples] = {}
        self._slots = asyncio.Semaphore(_AT_ONCE)

    def readings(self, key: SeriesKey, *, ready_pods: Mapping[str, datetime | None]) -> Readings:
        """What the pods' counters of arrivals show now."""
        variant = self._variants.get(key)
        if variant is None:
            return unknown(Problem.SOURCE, message="the pods have not been read yet")
        return variant.readings(ready_pods=ready_pods, at=at_of(self._clock()))

    def load(self, key: SeriesKey, *, ready_pods: Mapping[str, datetime | None]) -> Load:
        """How loaded the pods are now."""
        variant = self._variants.get(key)
        return Load() if variant is None else variant.load(ready_pods=ready_pods, at=at_of(self._clock()))

    async def run(self, on_round: Callback | None = None) -> None:
        """Reads all pods every interval until cancelled, and tells *on_round* which variants were. No error ends it."""
        loop = asyncio.get_running_loop()
        # A session of its own, without the cookies and headers that the one for Prometheus may carry: pods are their
        # owners', and get no credentials.
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        async with aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), headers=_HEADERS, auto_decompress=False
        ) as session:
            while True:
                begun = loop.time()
                try:
                    found = await self.read_all(session)
                    told = on_round(found) if on_round is not None and found else None
                    if told is not None:
                        await told
                except Exception:
                    _logger.exception("a round over the pods' metrics failed")
                await asyncio.sleep(max(0.0, begun + self._interval.total_seconds() - loop.time()))

    async def read_all(self, session: aiohttp.ClientSession) -> frozenset[SeriesKey]:
        """Reads each pod once; the variants that were asked for."""
        targets = self._targets()
        now = self._clock()
        asking = []
        for key, addresses in targets.items():
            variant = self._variants.setdefault(key, VariantSamples())
            chosen = chosen_of(addresses)
            variant.asked = frozenset(address.pod for address in chosen)
            variant.left_out = frozenset(address.pod for address in addresses) - variant.asked
            variant.forget_old(unix_seconds=now)
            for address in chosen:
                pod = variant.pods.setdefault(address.pod, PodSamples())
                if _is_due(pod):
                    asking.append((pod.time_outs, self._read(session, key, address, pod)))
        self._variants = {key: variant for key, variant in self._variants.items() if key in targets}
        # Those that hung the last time come last.
        asking.sort(key=lambda each: each[0])
        await asyncio.gather(*(each for _, each in asking))
        return frozenset(targets)

    async def _read(self, session: aiohttp.ClientSession, key: SeriesKey, address: PodAddress, pod: PodSamples) -> None:
        async with self._slots:
            begun = self._clock()
            failure, timed_out = "", False
            try:
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    body = await _fetched(session, address)
                numbers = parse_exposition(body, endpoint=key.endpoint_name, variant=key.variant_name)
                pod.add(numbers, unix_seconds=(begun + self._clock()) / 2)
            except TimeoutError:
                failure, timed_out = f"did not answer within {TIMEOUT_SECONDS * 1000:.0f} ms", True
            except ExpositionError as error:
                failure = str(error)
            except aiohttp.ClientConnectorError as error:
                failure = f"cannot be reached at port {address.port}: {cause_of(error)}"
            except (aiohttp.ClientError, OSError, ValueError) as error:
                failure = f"gave no usable answer at port {address.port}: {type(error).__name__}"
            pod.time_outs = pod.time_outs + 1 if timed_out else 0
            if failure and failure != pod.failure:
                _logger.info("metrics of pod %s/%s: it %s", key.namespace, address.pod, failure)
            pod.failure = failure


def chosen_of(addresses: Sequence[PodAddress]) -> Sequence[PodAddress]:
    """All of them, or as many as are read: by a hash of the name, so that pods that come and go change little."""
    if len(addresses) <= MOST_PODS:
        return addresses
    return sorted(addresses, key=lambda each: hashlib.blake2b(each.pod.encode(), digest_size=8).digest())[:MOST_PODS]


def _is_due(pod: PodSamples) -> bool:
    pod.rounds += 1
    if pod.time_outs >= _TIME_OUTS_UNTIL_RARE and pod.rounds < _ROUNDS_BETWEEN_RARE:
        return False
    pod.rounds = 0
    return True


async def _fetched(session: aiohttp.ClientSession, address: PodAddress) -> bytes:
    if address.port is None:
        raise ExpositionError("has no port named metrics: set spec.model.container.metricsPort")
    async with session.get(address.url, allow_redirects=False) as response:
        if response.status != 200:
            raise ExpositionError(f"answered with HTTP status {response.status} at port {address.port}")
        body = await body_of(response, longest_bytes=_LONGEST_ANSWER_BYTES)
        if body is None:
            raise ExpositionError(f"exposes more than {_LONGEST_ANSWER_BYTES // 2**20} MiB")
        return body
