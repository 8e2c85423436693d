"""The loop of every kind: take a key, observe, decide, act, report."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ValidationError

from sagebrush.api.meta import Backend
from sagebrush.backends.base import Kind
from sagebrush.backends.sagemaker.base import Gateway
from sagebrush.core.conditions import Reason
from sagebrush.core.plan import Announcement, ErrorClass, Failed, Plan, SpecError
from sagebrush.core.resource import Key, Manifest, Meta
from sagebrush.core.sagemaker.calls import AwsError
from sagebrush.kube.cache import Cache
from sagebrush.kube.client import ApiError, Client
from sagebrush.kube.events import EventRecorder
from sagebrush.metrics.exporter import OperatorMetrics
from sagebrush.runtime.dispatch import backend_of
from sagebrush.runtime.executor import Executor, error_class
from sagebrush.runtime.showing import price_of, shown_of
from sagebrush.runtime.workqueue import LONGEST_BACKOFF_SECONDS, WorkQueue

log = logging.getLogger(__name__)

SLOW_RETRY_SECONDS = 300.0
_BUSY_RETRY_SECONDS = 5.0
_UNREACHABLE_RETRY_SECONDS = 25.0
"""
With its spread half a minute at most: after an outage of whatever length all goes on within that time. To ask a server that
does not answer costs it nothing.
"""
_REFUSED_FOR = timedelta(minutes=10)
_FOR_EVER = 1_000_000


@dataclass(frozen=True, slots=True)
class _Response:
    """How a class of errors is answered: what status says of it, after how many in a row, and how soon it is tried again."""

    reason: Reason
    quiet: int = 0
    slow: bool = False
    at_least_seconds: float = 0.0
    at_most_seconds: float = LONGEST_BACKOFF_SECONDS


@dataclass(frozen=True, slots=True)
class _Unwritten:
    """A status that could not be written yet, and the Events that go with it."""

    stored: Manifest | None
    """The status that is in its place."""
    status: Manifest | None
    events: tuple[Announcement, ...]


# Most transient errors mend themselves at once: nothing to tell yet.
_RESPONSES = {
    ErrorClass.INVALID: _Response(Reason.INVALID_SPEC, slow=True),
    ErrorClass.DENIED: _Response(Reason.PERMISSION_DENIED, slow=True),
    ErrorClass.QUOTA: _Response(Reason.QUOTA_EXCEEDED, slow=True),
    ErrorClass.BUSY: _Response(Reason.UPDATING, quiet=_FOR_EVER, at_least_seconds=_BUSY_RETRY_SECONDS),
    ErrorClass.THROTTLED: _Response(Reason.THROTTLED, quiet=4),
    ErrorClass.TRANSIENT: _Response(Reason.APPLY_FAILED, quiet=2),
    ErrorClass.UNREACHABLE: _Response(Reason.APPLY_FAILED, quiet=2, at_most_seconds=_UNREACHABLE_RETRY_SECONDS),
    ErrorClass.BUG: _Response(Reason.APPLY_FAILED),
}


class Controller:
    """Reconciles the objects of one backend with a number of workers; never the same key twice at once."""

    def __init__(
        self,
        *,
        backend: Backend,
        queue: WorkQueue[Key],
        cache: Cache,
        client: Client,
        kinds: Mapping[str, Kind],
        recorder: EventRecorder,
        metrics: OperatorMetrics,
        gateway: Gateway | None = None,
        slow_retry_seconds: float = SLOW_RETRY_SECONDS,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._backend, self._queue, self._cache, self._client = backend, queue, cache, client
        self._kinds, self._recorder, self._metrics, self._clock = kinds, recorder, metrics, clock
        self._executor = Executor(client, cache, gateway)
        self._slow_retry_seconds = slow_retry_seconds
        self._refused: dict[Key, tuple[str, int, datetime]] = {}
        self._unwritten: dict[Key, _Unwritten] = {}

    async def run(self, *, workers: int) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            for number in range(workers):
                group.create_task(self._work(), name=f"worker-{number}")

    async def _work(self) -> None:
        while True:
            key = await self._queue.get()
            started = time.perf_counter()
            outcome = "error"
            try:
                outcome = await self._reconcile(key)
            except (ApiError, OSError, TimeoutError) as error:
                self._failed(key, Failed(error_class(error), str(error)))
            except Exception:
                log.exception("reconcile failed: this is a bug in the operator", extra={"key": str(key)})
                self._failed(key, Failed(ErrorClass.BUG, "see the traceback above"))
            finally:
                self._queue.done(key)
                duration = timedelta(seconds=time.perf_counter() - started)
                self._metrics.reconciled(key.kind, outcome=outcome, duration=duration)
                self._metrics.queued(len(self._queue), backend=self._backend)

    def _failed(self, key: Key, failed: Failed) -> None:
        response = _RESPONSES[failed.error_class]
        least = self._slow_retry_seconds if response.slow else response.at_least_seconds
        seconds = self._queue.retry(key, at_least_seconds=least, at_most_seconds=response.at_most_seconds)
        self._metrics.failed(key.kind, error_class=failed.error_class)
        log.warning(
            "%s; again in %.1f s", failed.message, seconds, extra={"key": str(key), "class": str(failed.error_class)}
        )

    async def _reconcile(self, key: Key) -> str:
        """One pass; the outcome for the metrics."""
        stored = self._cache.get(key)
        kind = self._kinds[key.kind]
        if stored is None or backend_of(stored) is not self._backend:
            kind.forget(key)
            self._refused.pop(key, None)
            self._unwritten.pop(key, None)
            if stored is None and key.kind == "ModelEndpoint":
                self._metrics.scaler.forget(key.namespace, endpoint=key.name)
            self._queue.forget(key)
            return "gone"
        body = self._with_unwritten(key, stored)
        meta, now = Meta.of(body), self._clock()
        plan, failed = await self._planned(key, body, meta, now=now)
        if plan is None:
            return "stalled"
        if not failed:
            failed = await self._executor.run(plan.actions, key=key)
        response = _RESPONSES[failed.error_class] if failed else None
        if failed and response and self._queue.attempts(key) < response.quiet:
            self._failed(key, failed)
            return "error"
        if not failed or not response:
            kind.acted(meta, plan)
            self._show(key, plan, now=now)
        else:
            reason = str(response.reason)
            final = failed.error_class is ErrorClass.INVALID
            if final:  # the others are counted where they are put in line again
                self._refuse(key, meta, now=now)
            plan = kind.stalled(meta, body, reason=reason, message=failed.message, final=final, now=now)
        await self._report(key, stored, plan)
        if failed and failed.error_class is not ErrorClass.INVALID:
            self._failed(key, failed)
            return "error"
        self._queue.forget(key)
        if plan.requeue_after is not None:
            self._queue.come_back(key, plan.requeue_after.total_seconds())
        return "ok"

    async def _planned(
        self, key: Key, body: Manifest, meta: Meta, *, now: datetime
    ) -> tuple[Plan[Any] | None, Failed | None]:
        """The plan, None where the spec waits for a change; an empty one and the failure where AWS can't be asked."""
        try:
            if self._is_refused(key, meta, now=now):
                return await self._kinds[key.kind].watch(key, body, now=now), None
            return await self._plan(key, body, meta, now=now), None
        except AwsError as error:
            return Plan(status=None), Failed(error_class(error), str(error))

    async def _plan(self, key: Key, body: Manifest, meta: Meta, *, now: datetime) -> Plan[Any]:
        kind = self._kinds[key.kind]
        try:
            return await kind.plan(key, body, now=now)
        except SpecError as error:
            message = str(error)
        except ValidationError as error:
            first = error.errors()[0]
            message = f"spec.{'.'.join(map(str, first['loc']))}: {first['msg']} (this object is older than its schema; apply it again)"
        self._refuse(key, meta, now=now)
        return kind.stalled(meta, body, reason=str(Reason.INVALID_SPEC), message=message, final=True, now=now)

    def _refuse(self, key: Key, meta: Meta, *, now: datetime) -> None:
        """
        A generation that can't be carried out waits for a change of the spec. Since what refuses it may lie elsewhere (a
        port still taken, an admission policy, an older operator), each process tries it once, and every ten minutes.
        """
        self._refused[key] = (meta.uid, meta.generation, now + _REFUSED_FOR)
        self._queue.add_after(key, _REFUSED_FOR.total_seconds() + 1)
        self._metrics.failed(key.kind, error_class=ErrorClass.INVALID)

    def _is_refused(self, key: Key, meta: Meta, *, now: datetime) -> bool:
        uid, generation, until = self._refused.get(key, ("", 0, now))
        if (uid, generation) == (meta.uid, meta.generation) and now < until:
            return True
        self._refused.pop(key, None)
        return False

    def _show(self, key: Key, plan: Plan[Any], *, now: datetime) -> None:
        """The scaler's decisions, as metrics."""
        scaler = self._metrics.scaler
        if plan.decisions:
            shown, cost = shown_of(plan, now=now), price_of(plan)
            scaler.decided(shown, namespace=key.namespace, endpoint=key.name, cost=cost)
        elif key.kind == "ModelEndpoint":
            scaler.forget(key.namespace, endpoint=key.name)

    def _with_unwritten(self, key: Key, stored: Manifest) -> Manifest:
        """
        The object with the status that it would have, had the last write not failed: what was done then is done, and the
        record of it must not be lost. Not so where somebody has written meanwhile, or we have and only the answer was lost.
        """
        late = self._unwritten.get(key)
        if late is None:
            return stored
        there = stored.get("status")
        if there != late.stored:
            late = self._unwritten[key] = _Unwritten(there, there, late.events)
        return {**stored, "status": late.status}

    async def _report(self, key: Key, stored: Manifest, plan: Plan[Any]) -> None:
        """Write the status if it changed, then tell; what can't be written now is written, and told, by the next pass."""
        if plan.status is None:
            return
        late = self._unwritten.get(key)
        events = (*late.events, *plan.events) if late else plan.events
        if late or not plan.written:
            status = plan.status.to_dict()
            if status != stored.get("status"):
                self._unwritten[key] = _Unwritten(stored.get("status"), status, events)
                if not await self._write_status(stored, status):
                    events = ()
        self._unwritten.pop(key, None)
        for announcement in events:
            log.info("%s: %s", announcement.reason, announcement.message, extra={"key": str(key)})
            await self._recorder.post(stored, announcement)

    async def _write_status(self, body: Manifest, status: Manifest) -> bool:
        """Whether the object is there at all."""
        metadata = {name: body["metadata"][name] for name in ("name", "namespace", "uid")}
        manifest = {"apiVersion": body["apiVersion"], "kind": body["kind"], "metadata": metadata, "status": status}
        try:
            self._cache.put(await self._client.apply(manifest, subresource="status"))
        except ApiError as error:
            if error.status == 404:  # deleted meanwhile: the watch will say so
                return False
            raise
        return True
