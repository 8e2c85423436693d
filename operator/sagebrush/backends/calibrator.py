"""Lets the policy learn from each endpoint's own history, one endpoint at a time, seldom, and beside the event loop."""

import asyncio
import logging
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Protocol

import numpy as np
from pydantic import ValidationError

from sagebrush.api.model_endpoint import ModelEndpointSpec, ModelEndpointStatus
from sagebrush.api.scaling import Scaling
from sagebrush.api.scaling_status import ScalingStatus
from sagebrush.backends.scaling_knowledge import ScalingKnowledge, Variant
from sagebrush.core.plan import SpecError
from sagebrush.core.resource import Key, Manifest, Meta
from sagebrush.core.scaled_variants import scaled_variants
from sagebrush.core.scaling.calibrate import DemandHistory, calibrate
from sagebrush.core.scaling.calibration import SLOW_HORIZON_SECONDS
from sagebrush.core.scaling.compiled import compile_policy
from sagebrush.core.scaling.facts import Cadence, Knowledge
from sagebrush.kube.cache import Cache
from sagebrush.metrics.history import HistoryError

log = logging.getLogger(__name__)

FINE = tuple(timedelta(seconds=each) for each in (5, 10, 15, 30))
"""Bins of the history for replicas that start in seconds: the first that a scrape fits into, since none sees more."""
COARSE = timedelta(seconds=60)
"""Bins for replicas that take minutes to start: what they can't follow teaches nothing."""
SOONEST = timedelta(minutes=10)
"""Time between two attempts where the history could not be read, or is too short to learn much from."""
_SHARE_OF_HISTORY = 0.25
_CHANGED_SHARE = 0.1
_PAUSE_SECONDS = 1.0
_IDLE_SECONDS = 15.0
_SPREAD = 0.15
_SCRAPE_SPREAD = 1.2


class Histories(Protocol):
    """Where histories come from; see :class:`sagebrush.metrics.request_metrics.RequestMetrics`."""

    async def fetch_history(
        self, namespace: str, *, endpoint: str, variant: str, span: timedelta, step: timedelta
    ) -> DemandHistory: ...

    def scrape_seconds(self, namespace: str, endpoint: str, variant: str) -> float: ...

    def cadence(self, namespace: str, *, endpoint: str, variant: str, scaling: Scaling) -> Cadence: ...


class Subject(NamedTuple):
    """A variant that learns."""

    variant: Variant
    namespace: str
    endpoint: str
    scaling: Scaling
    before: ScalingStatus | None
    revision: str | None
    serialised: bool


class _Basis(NamedTuple):
    """What a calibration is made from, beside the history."""

    policy: str
    capacity: float
    """Requests per second of one replica; 0: unknown."""

    def is_other(self, than: "_Basis") -> bool:
        """Whether what was learned on it may be wrong on the other."""
        nearly = (1 - _CHANGED_SHARE) * than.capacity <= self.capacity <= (1 + _CHANGED_SHARE) * than.capacity
        return self.policy != than.policy or not nearly


@dataclass(slots=True)
class _Turn:
    due: datetime
    problem: str = ""
    learned: str = ""
    basis: _Basis | None = None
    tried: datetime | None = None


class Calibrator:
    """
    Calibrates every scaled variant at start and every *period*; sooner while its history is short, and where its policy
    or its capacity has changed.

    A failure is told once and tried again: without a calibration the policy goes by what it sees.
    """

    def __init__(
        self,
        *,
        cache: Cache,
        knowledge: ScalingKnowledge,
        histories: Histories,
        span: timedelta,
        period: timedelta,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """*span*: how much history is read; *clock*: Prometheus' time, not AWS'."""
        self._cache, self._knowledge, self._histories = cache, knowledge, histories
        self._span, self._period = span, period
        self._clock, self._jitter = clock, jitter
        self._turns: dict[Variant, _Turn] = {}
        self._read: dict[Key, tuple[Manifest, Sequence[Subject]]] = {}

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            try:
                worked = await self.once()
            except Exception:
                log.exception("a calibration failed in a way not foreseen")
                worked = False
            await asyncio.sleep(_PAUSE_SECONDS if worked else _IDLE_SECONDS)

    async def once(self) -> bool:
        """Calibrate the variant that has waited longest, if one is due; whether one was."""
        now = self._clock()
        subjects = {subject.variant: subject for subject in self._subjects()}
        self._turns = {variant: self._turns.get(variant) or _Turn(due=now) for variant in subjects}
        for variant, each in self._turns.items():
            rested = each.tried is not None and now - each.tried >= SOONEST
            if each.basis and rested and each.basis.is_other(self._basis(subjects[variant])):
                each.due = min(each.due, now)
        due = [(turn.due, variant) for variant, turn in self._turns.items() if turn.due <= now]
        if not due:
            return False
        subject, turn = subjects[min(due)[1]], self._turns[min(due)[1]]
        turn.tried, turn.due = now, now + self._apart(SOONEST)  # whatever comes: the others have their turn first
        try:
            knowledge, policy = self._known(subject), compile_policy(subject.scaling)
            history = await self._histories.fetch_history(
                subject.namespace,
                endpoint=subject.endpoint,
                variant=subject.variant.name,
                span=self._span,
                step=self._step(subject, knowledge),
            )
            found = await asyncio.to_thread(calibrate, history, policy=policy, knowledge=knowledge, now=now)
        except (HistoryError, ValueError) as error:
            self._failed(subject, turn, error)
            return True
        turn.problem, turn.basis = "", self._basis(subject)
        turn.due = now + self._apart(min(self._period, max(SOONEST, _SHARE_OF_HISTORY * _known_span(history))))
        self._knowledge.learned(subject.variant, found)
        if found.learned != turn.learned:
            log.info("calibrated: %s", found.learned, extra={"key": _key(subject)})
        turn.learned = found.learned
        return True

    def _step(self, subject: Subject, knowledge: Knowledge) -> timedelta:
        if knowledge.horizon_seconds >= SLOW_HORIZON_SECONDS:
            return COARSE
        scrape = self._histories.scrape_seconds(subject.namespace, subject.endpoint, subject.variant.name)
        return next((each for each in FINE if scrape <= each.total_seconds() * _SCRAPE_SPREAD), COARSE)

    def _known(self, subject: Subject) -> Knowledge:
        cadence = self._histories.cadence(
            subject.namespace, endpoint=subject.endpoint, variant=subject.variant.name, scaling=subject.scaling
        )
        return self._knowledge.of(
            subject.variant,
            before=subject.before,
            revision=subject.revision,
            cadence=cadence,
            serialised=subject.serialised,
        )

    def _basis(self, subject: Subject) -> _Basis:
        capacity = self._known(subject).capacity
        return _Basis(subject.scaling.model_dump_json(), capacity.requests_per_second if capacity else 0.0)

    def _failed(self, subject: Subject, turn: _Turn, error: Exception) -> None:
        problem = str(error)
        if problem != turn.problem:
            log.warning(
                "nothing was learned from the history, tried again in %.0f min: %s",
                SOONEST.total_seconds() / 60,
                problem,
                extra={"key": _key(subject)},
            )
        turn.problem = problem

    def _apart(self, time: timedelta) -> timedelta:
        """Up to 15 % sooner: endpoints that were calibrated together at start drift apart."""
        return time * (1 - _SPREAD * self._jitter())

    def _subjects(self) -> Iterator[Subject]:
        read: dict[Key, tuple[Manifest, Sequence[Subject]]] = {}
        for key in self._cache.keys("ModelEndpoint"):
            body = self._cache.get(key)
            if body is not None and "deletionTimestamp" not in body["metadata"]:
                # The cache replaces a body and never changes it: of a thousand endpoints few are read anew.
                before = self._read.get(key)
                found = before[1] if before and before[0] is body else subjects_of(key, body)
                read[key] = body, found
                yield from found
        self._read = read


def subjects_of(key: Key, body: Manifest) -> Sequence[Subject]:
    """The variants of an endpoint that our own policy scales and that may learn; none where it can't be read."""
    try:
        spec = ModelEndpointSpec.model_validate(body["spec"], extra="ignore")
        status = ModelEndpointStatus.model_validate(body.get("status") or {}, extra="ignore")
        found = scaled_variants(spec, status)
    except (ValidationError, SpecError):
        return ()
    return [
        Subject(
            variant=Variant(Meta.of(body).uid, each.name),
            namespace=key.namespace,
            endpoint=key.name,
            scaling=each.scaling,
            before=each.before,
            revision=status.revision,
            serialised=each.serialised,
        )
        for each in found
        if each.scaling.mode != "Off"
    ]


def _known_span(history: DemandHistory) -> timedelta:
    """How much of the history is known."""
    return timedelta(seconds=history.step_seconds * int(np.isfinite(history.rates).sum()))


def _key(subject: Subject) -> str:
    return f"ModelEndpoint {subject.namespace}/{subject.endpoint}"
