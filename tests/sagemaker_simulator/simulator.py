"""The simulator as a whole: a clock, a world, a server in front of it, and a ticker that makes time pass."""

import threading
import traceback
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from types import TracebackType
from typing import Any, Self

from tests.sagemaker_simulator import operations
from tests.sagemaker_simulator.audit import Audit, orphans
from tests.sagemaker_simulator.clock import Agenda, Clock, ScaledClock
from tests.sagemaker_simulator.dispatch import Dispatcher
from tests.sagemaker_simulator.faults import Faults, Rule
from tests.sagemaker_simulator.limits import Limits
from tests.sagemaker_simulator.server import Server, serve
from tests.sagemaker_simulator.storage import Storage
from tests.sagemaker_simulator.timings import Timings
from tests.sagemaker_simulator.world import World

__all__ = ["Simulator", "operations"]

TICK_SECONDS = 0.05


class Simulator:
    """SageMaker, Application Auto Scaling, STS, CloudWatch alarms and Logs on one port of 127.0.0.1.

    Serves inside its `with` block (or between `start` and `stop`). `limits` maps operation globs to (rate, burst) in
    virtual seconds; None means no limit. With `s3_endpoint` artifacts are written there and looked up there.
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        s3_endpoint: str | None = None,
        region: str = "us-east-1",
        account: str = "123456789012",
        host: str = "127.0.0.1",
        port: int = 0,
        timings: Timings | None = None,
        faults: Iterable[dict[str, Any]] = (),
        limits: Mapping[str, tuple[float, float]] | None = None,
        artifact: bytes | None = None,
    ) -> None:
        self.clock = clock or ScaledClock()
        self.agenda = Agenda(self.clock)
        self.audit = Audit()
        self.faults = Faults()
        self.storage = Storage(s3_endpoint, artifact=artifact)
        self.world = World(
            agenda=self.agenda,
            timings=timings or Timings(),
            faults=self.faults,
            audit=self.audit,
            storage=self.storage,
            account=account,
            region=region,
        )
        self.traffic = self.world.traffic
        self.faults.on_added.append(self._fault_added)
        self.faults.load(faults)
        self.dispatcher = Dispatcher(self.world, Limits(limits))
        self._host, self._port = host, port
        self._server: Server | None = None
        self._stopped = threading.Event()

    @property
    def url(self) -> str:
        """Where all services answer: give it to boto3 as endpoint_url, or as AWS_ENDPOINT_URL."""
        assert self._server is not None, "the simulator is not started"
        return f"http://{self._host}:{self._server.server_address[1]}"

    def start(self) -> Self:
        """Listen."""
        self._server = Server((self._host, self._port), self)
        serve(self._server)
        threading.Thread(target=self._tick, daemon=True).start()
        return self

    def stop(self) -> None:
        """Close the port and all connections."""
        self._stopped.set()
        if self._server is not None:
            self._server.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def advance(self, seconds: float) -> None:
        """Let virtual time pass at once, with all that happens in it."""
        self.clock.advance(seconds)
        self.agenda.catch_up()

    def orphans(self, live_uids: Iterable[str] = ()) -> list[str]:
        """ARNs of what carries a tag sagebrush.dev/uid of nobody who lives, in all accounts and regions."""
        with self.agenda.lock:
            self.agenda.catch_up()
            return orphans([thing for region in self.world.regions.values() for thing in region.things()], live_uids)

    def reset(self) -> None:
        """An empty world: no resources, faults, traffic or audit; time goes on."""
        with self.agenda.lock:
            self.agenda.clear()
            self.world.ticking = False
            self.world.regions.clear()
            self.world.identities.clear()
            self.traffic.clear()
            self.faults.clear()
            self.audit.clear()
            self.dispatcher.limits.clear()

    def control(self, route: str, document: Any, *, query: str = "") -> Any:
        """Answer a call of the control API; see `control.py`."""
        from tests.sagemaker_simulator.control import ROUTES

        answer: Callable[..., Any] = ROUTES[route]
        return answer(self, document, query)

    def _fault_added(self, rule: Rule) -> None:
        if rule.kind in {"system_update", "out_of_service"}:
            with self.agenda.lock:
                self.agenda.catch_up()
                self.agenda.after(rule.after, lambda: self._befall(rule))
                self.agenda.catch_up()

    def _befall(self, rule: Rule) -> None:
        """Maintenance (or failure) of the endpoints in service that match."""
        duration = rule.seconds or self.world.timings.endpoint_system_update
        with self.agenda.lock:
            self.agenda.catch_up()
            for region in self.world.regions.values():
                for each in region.endpoints.values():
                    if not fnmatchcase(each.name, rule.resource) or not rule.strikes():
                        continue
                    if rule.kind == "out_of_service":
                        each.go_out_of_service()
                    else:
                        each.begin_system_update(duration)

    def _tick(self) -> None:
        while not self._stopped.wait(TICK_SECONDS):
            try:
                self.agenda.catch_up()
            except Exception:  # noqa: BLE001 - time must go on, and a bug of the simulator's be seen
                traceback.print_exc()
