"""Simulated load on endpoints: rates over virtual time, booked on variants and instances whenever somebody looks."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tests.sagemaker_simulator.clock import Agenda

if TYPE_CHECKING:
    from tests.sagemaker_simulator.endpoint import Endpoint
    from tests.sagemaker_simulator.world import Region, World

SERVING = {"InService", "Updating", "SystemUpdating", "RollingBack", "UpdateRollbackFailed"}
NAMESPACE_TAG = "sagebrush.dev/namespace"
NAME_TAG = "sagebrush.dev/name"


class Traffic:
    """Requests per virtual minute for each endpoint; requests at an endpoint that does not serve are lost."""

    def __init__(self, agenda: Agenda) -> None:
        self._agenda = agenda
        self._rates: dict[str, list[tuple[float, float]]] = {}

    def set(self, endpoint: str, rate: float | Iterable[tuple[float, float]]) -> None:
        """From now on: requests per minute, or a schedule of (virtual seconds from now, requests per minute)."""
        with self._agenda.lock:
            self._agenda.catch_up()
            now = self._agenda.now
            schedule = (
                [(0.0, rate)] if isinstance(rate, (int, float)) else [(float(at), float(rpm)) for at, rpm in rate]
            )
            before = [(at, rpm) for at, rpm in self._rates.get(endpoint.lower(), []) if at < now]
            self._rates[endpoint.lower()] = before + sorted((now + at, float(rpm)) for at, rpm in schedule)

    def rate(self, endpoint: str) -> float:
        """Requests per minute now."""
        current = 0.0
        for at, rpm in self._rates.get(endpoint.lower(), []):
            if at <= self._agenda.now:
                current = rpm
        return current

    def settle(self, endpoint: "Endpoint") -> None:
        """Book what has come since the last time."""
        now, since = self._agenda.now, endpoint.settled
        endpoint.settled = now
        if endpoint.status in SERVING and now > since:
            self.book(endpoint, self._requests(endpoint.name.lower(), since, now))

    def book(self, endpoint: "Endpoint", requests: float) -> None:
        """Spread requests over the fleets as traffic is shifted."""
        if requests:
            endpoint.fleet.serve(requests * (1 - endpoint.shifted))
            if endpoint.pending and endpoint.shifted:
                endpoint.pending.serve(requests * endpoint.shifted)

    def _requests(self, endpoint: str, since: float, until: float) -> float:
        rates = self._rates.get(endpoint, [])
        total = 0.0
        for number, (start, rpm) in enumerate(rates):
            end = rates[number + 1][0] if number + 1 < len(rates) else until
            total += max(0.0, min(end, until) - max(start, since)) * rpm / 60
        return total

    def clear(self) -> None:
        self._rates.clear()


def exposition(world: "World") -> str:
    """Prometheus text: `sagebrush_invocations_total` for each instance that runs.

    The counter is the virtual count over the clock's speed, so that a rate per wall-clock minute is the virtual rate
    per minute: who reads it lives on the wall clock.
    """
    lines = [
        "# HELP sagebrush_invocations_total Requests answered.",
        "# TYPE sagebrush_invocations_total counter",
    ]
    for region in world.regions.values():
        for endpoint in region.endpoints.values():
            world.traffic.settle(endpoint)
            if endpoint.status in SERVING:
                lines += _series(world, region, endpoint)
    return "\n".join(lines) + "\n"


def _series(world: "World", region: "Region", endpoint: Any) -> list[str]:
    namespace, name = endpoint.tags.get(NAMESPACE_TAG, ""), endpoint.tags.get(NAME_TAG, endpoint.name)
    fleets = [endpoint.fleet, endpoint.pending] if endpoint.shifted else [endpoint.fleet]
    return [
        f'sagebrush_invocations_total{{namespace="{namespace}",endpoint_name="{name}",variant_name="{variant.name}",'
        f'pod="{endpoint.name}-{variant.name}-{serial}"}} {served / world.agenda.clock.speed:.6f}'
        for fleet in fleets
        for variant in fleet.variants
        for serial, served in variant.served.items()
    ]
