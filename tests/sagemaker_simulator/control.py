"""The control API under /_simulator/ by which another process drives the simulator, and its client."""

import json
import time
import urllib.request
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.sagemaker_simulator.simulator import Simulator


def _time(simulator: "Simulator", document: Any, query: str) -> dict[str, float]:
    return {"now": simulator.clock.now(), "speed": simulator.clock.speed, "wall": time.time()}


def _state(simulator: "Simulator", document: Any, query: str) -> dict[str, Any]:
    with simulator.agenda.lock:
        simulator.agenda.catch_up()
        return {
            f"{account}/{name}": {
                "training_jobs": {
                    job.name: {**job.describe(), "Tags": job.tags} for job in region.training_jobs.values()
                },
                "models": {model.name: {**model.request, "Tags": model.tags} for model in region.models.values()},
                "endpoint_configs": {
                    config.name: {**config.request, "Tags": config.tags} for config in region.endpoint_configs.values()
                },
                "endpoints": {
                    endpoint.name: {**endpoint.describe(), "Tags": endpoint.tags}
                    for endpoint in region.endpoints.values()
                },
                "scalable_targets": {key: target.describe() for key, target in region.targets.items()},
                "alarms": sorted(region.alarms),
            }
            for (account, name), region in simulator.world.regions.items()
        }


def _audit(simulator: "Simulator", document: Any, query: str) -> dict[str, Any]:
    return simulator.audit.dump(with_calls="calls" in query)


def _orphans(simulator: "Simulator", document: Any, query: str) -> list[str]:
    return simulator.orphans(document.get("live_uids", []))


def _faults(simulator: "Simulator", document: Any, query: str) -> list[dict[str, Any]]:
    with simulator.agenda.lock:
        simulator.agenda.catch_up()
        simulator.faults.load(document if isinstance(document, list) else [document])
    return simulator.faults.plan()


def _read_faults(simulator: "Simulator", document: Any, query: str) -> list[dict[str, Any]]:
    return simulator.faults.plan()


def _clear_faults(simulator: "Simulator", document: Any, query: str) -> list[dict[str, Any]]:
    simulator.faults.clear(document.get("kind", "*"))
    return simulator.faults.plan()


def _advance(simulator: "Simulator", document: Any, query: str) -> dict[str, float]:
    simulator.advance(float(document["advance"]))
    return _time(simulator, document, query)


def _traffic(simulator: "Simulator", document: Any, query: str) -> dict[str, Any]:
    rate = document.get("requests_per_minute")
    simulator.traffic.set(document["endpoint"], document["schedule"] if rate is None else rate)
    return {}


def _reset(simulator: "Simulator", document: Any, query: str) -> dict[str, Any]:
    simulator.reset()
    return {}


ROUTES: dict[str, Any] = {
    "GET /_simulator/time": _time,
    "GET /_simulator/state": _state,
    "GET /_simulator/audit": _audit,
    "POST /_simulator/orphans": _orphans,
    "GET /_simulator/faults": _read_faults,
    "POST /_simulator/faults": _faults,
    "DELETE /_simulator/faults": _clear_faults,
    "POST /_simulator/clock": _advance,
    "POST /_simulator/traffic": _traffic,
    "POST /_simulator/reset": _reset,
}


class Control:
    """Drives a simulator in another process; answers are JSON documents."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def time(self) -> Any:
        """`now` (virtual), `speed` and `wall`."""
        return self._call("GET", "time")

    def state(self) -> Any:
        """Everything there is, by `account/region`."""
        return self._call("GET", "state")

    def audit(self, *, calls: bool = False) -> Any:
        """Counts, peaks, violations; with every call if wanted."""
        return self._call("GET", "audit?calls" if calls else "audit")

    def orphans(self, live_uids: list[str]) -> Any:
        """ARNs of what is tagged for owners that don't live."""
        return self._call("POST", "orphans", {"live_uids": live_uids})

    def fault(self, kind: str, **how: Any) -> Any:
        """Put a rule in force."""
        return self._call("POST", "faults", {"kind": kind, **how})

    def clear_faults(self, kind: str = "*") -> Any:
        """Lift rules."""
        return self._call("DELETE", "faults", {"kind": kind})

    def advance(self, seconds: float) -> Any:
        """Let virtual time pass at once."""
        return self._call("POST", "clock", {"advance": seconds})

    def traffic(self, endpoint: str, *, requests_per_minute: float | None = None, schedule: Any = None) -> Any:
        """Load on an endpoint: a rate, or pairs of (virtual seconds from now, rate)."""
        document = {"endpoint": endpoint, "requests_per_minute": requests_per_minute, "schedule": schedule}
        return self._call("POST", "traffic", document)

    def reset(self) -> Any:
        """Empty the world."""
        return self._call("POST", "reset", {})

    def _call(self, method: str, path: str, document: Any = None) -> Any:
        body = None if document is None else json.dumps(document).encode()
        request = urllib.request.Request(f"{self.url}/_simulator/{path}", data=body, method=method)
        with urllib.request.urlopen(request, timeout=10) as reply:
            return json.load(reply)
