"""What the objects' status shows, and since when: one watch stream for each kind."""

import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from kubernetes import client, watch
from kubernetes.client.exceptions import ApiException

from benchmarks.sagemaker.figures import Sighting
from benchmarks.sagemaker.manifests import NAMESPACE

GROUP, VERSION = "sagebrush.dev", "v1alpha1"
JOBS, ENDPOINTS = "trainingjobs", "modelendpoints"
FINAL = frozenset({"Completed", "Failed", "Stopped"})
SERVING = "Serving"


@dataclass
class Shown:
    """One object: how it is now, and all that its status has shown, by the wall's clock."""

    body: dict[str, Any]
    sightings: list[Sighting] = field(default_factory=list)

    @property
    def state(self) -> str:
        """SageMaker's word for it in status; empty before there is one."""
        told = (self.body.get("status") or {}).get("sageMaker") or {}
        return str(told.get("secondaryStatus") or told.get("status") or "")

    @property
    def phase(self) -> str:
        """The phase of a job; empty before there is one."""
        return str((self.body.get("status") or {}).get("phase") or "")

    @property
    def reason(self) -> str:
        """The reason of the Ready condition for the present spec; empty before it was told."""
        ready = next((each for each in self._conditions() if each["type"] == "Ready"), {})
        current = ready.get("observedGeneration") == self.body["metadata"]["generation"]
        return str(ready.get("reason", "")) if current else ""

    def _conditions(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (self.body.get("status") or {}).get("conditions", [])
        return found

    def see(self, body: dict[str, Any], *, at: float) -> None:
        """The object has changed."""
        self.body = body
        steps = len((body.get("status") or {}).get("transitions") or ())
        self.sightings.append(Sighting(at, self.state, steps))


class Watching:
    """Both kinds in the benchmark's namespace. Reading is safe at any time; what is gone stays in `shown`."""

    def __init__(self, api: client.CustomObjectsApi) -> None:
        self._api = api
        self._lock = threading.Lock()
        self.shown: dict[str, dict[str, Shown]] = {JOBS: {}, ENDPOINTS: {}}
        self.alive: dict[str, set[str]] = {JOBS: set(), ENDPOINTS: set()}
        self.writes: dict[str, list[float]] = defaultdict(list)
        """When an object of the kind was changed by anybody, by the wall's clock."""
        self.trouble: list[str] = []

    def start(self) -> None:
        """Watch in the background."""
        for plural in (JOBS, ENDPOINTS):
            threading.Thread(target=self._follow, args=(plural,), daemon=True).start()

    def _follow(self, plural: str) -> None:
        version = "0"
        while True:
            try:
                stream = watch.Watch().stream(  # type: ignore[no-untyped-call]
                    self._api.list_namespaced_custom_object,
                    GROUP,
                    VERSION,
                    NAMESPACE,
                    plural,
                    resource_version=version,
                    timeout_seconds=3600,
                )
                for event in stream:
                    version = event["object"]["metadata"]["resourceVersion"]
                    self._saw(plural, event["type"], event["object"], at=time.time())
            except ApiException as error:
                self.trouble.append(f"watch of {plural}: {error.status} {error.reason}")
            except Exception as error:  # noqa: BLE001 - the end of the API server, or a broken stream: told in the report
                self.trouble.append(f"watch of {plural}: {error!r}")
            time.sleep(0.5)

    def _saw(self, plural: str, event: str, body: dict[str, Any], *, at: float) -> None:
        name = body["metadata"]["name"]
        with self._lock:
            if event == "DELETED":
                self.alive[plural].discard(name)
                return
            self.alive[plural].add(name)
            if name not in self.shown[plural]:
                self.shown[plural][name] = Shown(body)
            self.shown[plural][name].see(body, at=at)
            self.writes[plural].append(at)

    def serving(self) -> int:
        """Endpoints that say Serving of their present spec."""
        with self._lock:
            return sum(self.shown[ENDPOINTS][name].reason == SERVING for name in self.alive[ENDPOINTS])

    def phases(self) -> Counter[str]:
        """How many living jobs are in each phase."""
        with self._lock:
            return Counter(self.shown[JOBS][name].phase for name in self.alive[JOBS])

    def ended(self) -> int:
        """Living jobs in a final phase."""
        return sum(count for phase, count in self.phases().items() if phase in FINAL)

    def left(self) -> int:
        """Objects that are still there."""
        with self._lock:
            return sum(map(len, self.alive.values()))

    def get(self, plural: str, name: str) -> Shown | None:
        """One object as it was last seen."""
        return self.shown[plural].get(name)
