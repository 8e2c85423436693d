"""An endpoint's life (reference §1.2): states, fleets and what may be done in which."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.sagemaker_simulator import deployment, errors
from tests.sagemaker_simulator.clock import Event
from tests.sagemaker_simulator.fleet import Fleet, Variant

if TYPE_CHECKING:
    from tests.sagemaker_simulator.world import Region

CHANGING = {"Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"}
TIMED_OUT = "The deployment did not finish within MaximumExecutionTimeoutInSeconds; it was rolled back."


class Endpoint:
    """One endpoint: the live fleet, the pending one, and the next event of its state machine."""

    kind = "endpoint"

    def __init__(self, region: "Region", name: str, fleet: Fleet) -> None:
        self.region, self.name, self.fleet = region, name, fleet
        self.arn = region.arn("endpoint", name)
        self.tags: dict[str, str] = {}
        self.created = self.modified = region.world.now
        self.status = "Creating"
        self.failure_reason: str | None = None
        self.pending: Fleet | None = None
        self.pending_since = 0.0
        self.shifted = 0.0
        """Share of the traffic that the pending fleet gets."""
        self.last_failed: str | None = None
        """The configuration of the last update that failed; nothing is kept of it but this."""
        self.last_deployment: dict[str, Any] | None = None
        self.real_invocations = 0
        self.settled = self.created
        """Until when its traffic is booked."""
        self.gone = False
        self._next: Event | None = None

    def look(self) -> None:
        """Before the fleets change: book the traffic of the time until now."""
        self.region.world.traffic.settle(self)

    def _set(self, status: str, *, reason: str | None = None) -> None:
        self.status, self.failure_reason = status, reason
        self.modified = self.region.world.now

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Replace the next event of the state machine."""
        if self._next:
            self._next.cancel()
        self._next = self.region.world.agenda.after(seconds, action)

    # Creating

    def begin_creating(self) -> None:
        """Provision, then serve; or fail by capacity or ping."""
        timings, faults = self.region.world.timings, self.region.world.faults
        self.fleet.set_status("Creating", now=self.region.world.now)
        if faults.strike("endpoint_capacity", self.name):
            self.after(timings.endpoint_capacity_failure, lambda: self._fail_creating(errors.NO_CAPACITY))
        elif (failing := self._fails_ping(self.fleet)) is not None:
            self.after(self._ping_seconds(failing), lambda: self._fail_creating(self._ping_reason(failing)))
        else:
            self.after(timings.endpoint_creating, self._created)

    def _created(self) -> None:
        if (missing := self._missing_model(self.fleet)) is not None:
            self._fail_creating(str(errors.missing("model", missing).message))
            return
        self.look()
        self.fleet.start()
        self.fleet.set_status(None, now=self.region.world.now)
        self._set("InService")

    def _fail_creating(self, reason: str) -> None:
        self.fleet.set_status(None, now=self.region.world.now)
        for variant in self.fleet.variants:
            variant.desired_count = 0
        self._set("Failed", reason=reason)

    # What befalls containers

    def _fails_ping(self, fleet: Fleet) -> Variant | None:
        faults = self.region.world.faults
        struck = (variant for variant in fleet.variants if faults.strike("fail_ping", self.name, image=variant.image))
        return next(struck, None)

    def _ping_seconds(self, variant: Variant) -> float:
        timings = self.region.world.timings
        window = variant.config.get("ContainerStartupHealthCheckTimeoutInSeconds", timings.ping_window)
        return float(window) * timings.ping_launches

    def _ping_reason(self, variant: Variant) -> str:
        self.region.log(
            f"/aws/sagemaker/Endpoints/{self.name}",
            f"{variant.name}/i-0123456789abcdef0",
            "Traceback (most recent call last):",
            '  File "/opt/ml/code/inference.py", line 7, in model_fn',
            "    return joblib.load(os.path.join(model_dir, 'model.joblib'))",
            "FileNotFoundError: [Errno 2] No such file or directory: '/opt/ml/model/model.joblib'",
        )
        return errors.ping_failed(variant.name)

    def _missing_model(self, fleet: Fleet) -> str | None:
        """ARN of a model that new instances would have to load and that is gone."""
        for variant in fleet.variants:
            name = variant.config.get("ModelName")
            if name and name not in self.region.models:
                return self.region.arn("model", name)
        return None

    # Changing

    def check_changeable(self, *, deleting: bool = False) -> None:
        """Raise where the status forbids updates (or deletion)."""
        if self.status in CHANGING:
            raise errors.in_progress(self.arn)
        if self.status == "Failed" and not deleting:
            raise errors.invalid(f'Cannot update endpoint "{self.arn}" with status "Failed". Delete and recreate it.')

    def begin_update(self, fleet: Fleet, config: dict[str, Any]) -> None:
        """Deploy the new fleet beside the old one; the end is the new configuration or the old one again."""
        world = self.region.world
        self.look()
        self._set("Updating")
        self.pending, self.pending_since, self.shifted = fleet, world.now, 0.0
        fleet.set_status("Creating", now=world.now)
        rollback_failed = (
            world.faults.strike("update_rollback_failed", self.name) if deployment.is_rolling(config) else None
        )
        silent = world.faults.strike("silent_rollback", self.name)
        failing = self._fails_ping(fleet)
        if failing is not None:
            self.after(self._ping_seconds(failing), lambda: self._roll_back(self._ping_reason(failing)))
            return
        if world.faults.strike("endpoint_capacity", self.name):
            self.after(world.timings.endpoint_capacity_failure, lambda: self._roll_back(errors.NO_CAPACITY))
            return
        instances = sum(variant.desired_count for variant in fleet.variants)
        laid = deployment.steps(config, instances=instances, timings=world.timings)
        last: Callable[[], None] = lambda: self._updated(config)  # noqa: E731
        if rollback_failed:
            last = lambda: self._mixed(rollback_failed.failure_reason)  # noqa: E731
        elif silent:
            last = lambda: self._roll_back(silent.failure_reason)  # noqa: E731
        deadline = world.now + deployment.time_limit(config)
        self._step(laid, 0, deadline=deadline, last=last)

    def _step(self, laid: list[deployment.Step], number: int, *, deadline: float, last: Callable[[], None]) -> None:
        now = self.region.world.now
        if number == len(laid):
            last()
            return
        step = laid[number]
        self.look()
        self.shifted = step.share
        if self.pending:
            self.pending.set_status(step.status, now=now)
            if step.share > 0:
                self.pending.start()
        if now + step.seconds > deadline:
            self.after(deadline - now, lambda: self._roll_back(TIMED_OUT))
        else:
            self.after(step.seconds, lambda: self._step(laid, number + 1, deadline=deadline, last=last))

    def _updated(self, config: dict[str, Any]) -> None:
        fleet = self.pending
        if fleet is None or self._missing_model(fleet) or fleet.config_name not in self.region.endpoint_configs:
            self._roll_back("The endpoint configuration or a model of it was deleted during the update.")
            return
        self.look()
        fleet.start()
        fleet.set_status(None, now=self.region.world.now)
        self.fleet, self.pending, self.shifted = fleet, None, 0.0
        self.last_deployment = config or None
        self._set("InService")

    def _roll_back(self, reason: str | None) -> None:
        """Back to the old fleet; the pending configuration is forgotten but for `last_failed`."""
        self.look()
        self.shifted = 0.0
        self.last_failed = self.pending.config_name if self.pending else None
        self._set("RollingBack")
        self.after(self.region.world.timings.endpoint_rolling_back, lambda: self._rolled_back(reason))

    def _rolled_back(self, reason: str | None) -> None:
        self.look()
        self.pending = None
        self._set("InService", reason=reason)

    def _mixed(self, reason: str | None) -> None:
        """Old and new instances serve side by side: half of the new fleet's instances stay."""
        self.look()
        self.last_failed = self.pending.config_name if self.pending else None
        self.shifted = 0.5
        self._set("UpdateRollbackFailed", reason=reason or "Rollback to the previous endpoint configuration failed.")

    def begin_resize(self, wanted: dict[str, tuple[float | None, int | None]]) -> None:
        """Change weights and counts: desired ones at once, current ones when the instances have come or gone."""
        world = self.region.world
        self.look()
        before = [(variant, variant.desired_count, variant.desired_weight) for variant in self.fleet.variants]
        for name, (weight, count) in wanted.items():
            variant = self.fleet.variant(name)
            if variant is not None:
                variant.desired_weight = variant.desired_weight if weight is None else weight
                variant.desired_count = variant.desired_count if count is None else count
                variant.set_status("Updating", now=world.now)
        growing = any(variant.desired_count > variant.current_count for variant in self.fleet.variants)
        self._set("Updating")
        if growing and world.faults.strike("endpoint_capacity", self.name):
            self.after(world.timings.endpoint_capacity_failure, lambda: self._resize_failed(before, errors.NO_CAPACITY))
        elif growing:
            self.after(world.timings.endpoint_scaling_out, lambda: self._resized(before))
        else:
            self.after(world.timings.endpoint_scaling_in, lambda: self._resized([]))

    def _resized(self, before: list[tuple[Variant, int, float]]) -> None:
        if before and (missing := self._missing_model(self.fleet)) is not None:
            self._resize_failed(before, errors.missing("model", missing).message)
            return
        self.look()
        self.fleet.start()
        self.fleet.set_status(None, now=self.region.world.now)
        self._set("InService")

    def _resize_failed(self, before: list[tuple[Variant, int, float]], reason: str) -> None:
        for variant, count, weight in before:
            variant.desired_count, variant.desired_weight = count, weight
        self.fleet.set_status(None, now=self.region.world.now)
        self._set("InService", reason=reason)

    def go_out_of_service(self) -> None:
        """Rare: it neither serves nor changes."""
        self.look()
        self._set("OutOfService", reason="The endpoint is out of service.")

    def begin_system_update(self, seconds: float) -> None:
        """Maintenance, unprompted; new instances load the model, so it must be there."""
        if self.status == "InService" and not self.gone:
            self._set("SystemUpdating")
            self.after(seconds, self._system_updated)

    def _system_updated(self) -> None:
        missing = self._missing_model(self.fleet)
        if missing is None and self.fleet.config_name not in self.region.endpoint_configs:
            lost = self.region.arn("endpoint-config", self.fleet.config_name)
            self._set("InService", reason=errors.missing("endpoint-config", lost).message)
            return
        self._set("InService", reason=errors.missing("model", missing).message if missing else None)

    def begin_deleting(self) -> None:
        self.look()
        self._set("Deleting")
        self.after(self.region.world.timings.endpoint_deleting, self._deleted)

    def _deleted(self) -> None:
        self.gone = True
        self.region.endpoints.pop(self.name.lower(), None)

    # Looking

    def instances_of(self, instance_type: str) -> int:
        """Instances that count against the quota: a blue/green update has both fleets."""
        pending = self.pending.instances_of(instance_type) if self.pending else 0
        return self.fleet.instances_of(instance_type) + pending

    def uses_config(self, name: str) -> str | None:
        """`live` or `pending` where the endpoint needs this configuration."""
        if self.pending is not None and self.pending.config_name == name:
            return "pending"
        return "live" if self.fleet.config_name == name else None

    def uses_model(self, name: str) -> str | None:
        """`live` or `pending` where the endpoint needs this model."""
        if self.pending and any(variant.config.get("ModelName") == name for variant in self.pending.variants):
            return "pending"
        return "live" if any(variant.config.get("ModelName") == name for variant in self.fleet.variants) else None

    def describe(self) -> dict[str, Any]:
        """The answer of DescribeEndpoint."""
        answer: dict[str, Any] = {
            "EndpointName": self.name,
            "EndpointArn": self.arn,
            "EndpointConfigName": self.fleet.config_name,
            "EndpointStatus": self.status,
            "FailureReason": self.failure_reason,
            "CreationTime": self.created,
            "LastModifiedTime": self.modified,
            "LastDeploymentConfig": self.last_deployment,
        }
        if self.status not in {"Creating", "Failed"}:
            answer["ProductionVariants"] = [variant.describe() for variant in self.fleet.variants]
        if self.pending is not None and self.status in {"Updating", "RollingBack"}:
            answer["PendingDeploymentSummary"] = {
                "EndpointConfigName": self.pending.config_name,
                "StartTime": self.pending_since,
                "ProductionVariants": [variant.describe(pending=True) for variant in self.pending.variants],
            }
        return answer
