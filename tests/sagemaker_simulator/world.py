"""All state: regions of accounts, what lives in them, and the things that they share (clock, faults, audit)."""

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.sagemaker_simulator import errors
from tests.sagemaker_simulator.audit import Audit, Violation
from tests.sagemaker_simulator.clock import Agenda
from tests.sagemaker_simulator.faults import Faults
from tests.sagemaker_simulator.metrics import Series
from tests.sagemaker_simulator.storage import Storage
from tests.sagemaker_simulator.timings import Timings
from tests.sagemaker_simulator.traffic import Traffic

if TYPE_CHECKING:
    from tests.sagemaker_simulator.autoscaling import ScalableTarget
    from tests.sagemaker_simulator.endpoint import Endpoint
    from tests.sagemaker_simulator.training import TrainingJob


@dataclass
class Thing:
    """A model or an endpoint configuration: immutable, kept as it was asked for."""

    kind: str
    name: str
    arn: str
    request: dict[str, Any]
    created: float
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Identity:
    """Whom an access key stands for."""

    account: str
    arn: str
    user_id: str


@dataclass
class Region:
    """What one account has in one region. Endpoints are kept by lower-case name: AWS compares them so."""

    world: "World"
    account: str
    name: str
    training_jobs: dict[str, "TrainingJob"] = field(default_factory=dict)
    models: dict[str, Thing] = field(default_factory=dict)
    endpoint_configs: dict[str, Thing] = field(default_factory=dict)
    endpoints: dict[str, "Endpoint"] = field(default_factory=dict)
    targets: dict[str, "ScalableTarget"] = field(default_factory=dict)
    alarms: dict[str, dict[str, Any]] = field(default_factory=dict)
    activities: list[dict[str, Any]] = field(default_factory=list)
    logs: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    series: dict[tuple[str, str], Series] = field(default_factory=dict)
    """Metrics by endpoint (lower case) and variant."""

    def arn(self, kind: str, name: str) -> str:
        """ARN of a SageMaker resource."""
        return f"arn:aws:sagemaker:{self.name}:{self.account}:{kind}/{name}"

    def of_kind(self, kind: str) -> dict[str, Any]:
        """The things of a kind by key."""
        kinds: dict[str, dict[str, Any]] = {
            "training-job": self.training_jobs,
            "model": self.models,
            "endpoint-config": self.endpoint_configs,
            "endpoint": self.endpoints,
        }
        return kinds[kind]

    def find(self, kind: str, name: str) -> Any:
        """The thing of that name; AWS's error where it is absent or not seen yet."""
        key = name.lower() if kind == "endpoint" else name
        thing = self.of_kind(kind).get(key)
        if thing is None or not self.visible(kind, thing):
            raise errors.missing(kind, self.arn(kind, name))
        return thing

    def visible(self, kind: str, thing: Any) -> bool:
        """Whether reads see it yet: consistency is eventual where a fault says so."""
        return bool(self.world.now >= thing.created + self.world.faults.window(kind))

    def things(self) -> list[Any]:
        """Everything with tags."""
        return [
            thing
            for kind in (self.training_jobs, self.models, self.endpoint_configs, self.endpoints)
            for thing in kind.values()
        ]

    def log(self, group: str, stream: str, *lines: str) -> None:
        """Write to CloudWatch Logs."""
        events = self.logs.setdefault(group, [])
        now = int(self.world.now * 1000)
        for number, line in enumerate(lines):
            stamp = now - len(lines) + number
            events.append({"logStreamName": stream, "timestamp": stamp, "message": line, "ingestionTime": now})

    def used_instances(self, instance_type: str, usage: str) -> int:
        """How many instances of the type run (or are being started) for this usage."""
        if usage == "endpoint":
            return sum(endpoint.instances_of(instance_type) for endpoint in self.endpoints.values())
        return sum(job.instances_of(instance_type, usage) for job in self.training_jobs.values())

    def check_quota(self, instance_type: str, usage: str, delta: int) -> None:
        """Raise ResourceLimitExceeded where that many more instances would be too many."""
        limit = self.world.faults.quota(instance_type, usage)
        used = self.used_instances(instance_type, usage)
        if limit is not None and delta > 0 and used + delta > limit:
            raise errors.quota(instance_type, usage, limit, used, delta)


class World:
    """Everything behind the wire. All access under `agenda.lock`, after `agenda.catch_up()`."""

    def __init__(
        self,
        *,
        agenda: Agenda,
        timings: Timings,
        faults: Faults,
        audit: Audit,
        storage: Storage,
        account: str,
        region: str,
    ) -> None:
        self.agenda, self.timings, self.faults, self.audit, self.storage = agenda, timings, faults, audit, storage
        self.traffic = Traffic(agenda)
        self.default_account, self.default_region = account, region
        self.regions: dict[tuple[str, str], Region] = {}
        self.identities: dict[str, Identity] = {}
        self.ticking = False
        """Whether the scaler evaluates."""

    @property
    def now(self) -> float:
        """The virtual time of what is happening."""
        return self.agenda.now

    def region(self, account: str | None = None, name: str | None = None) -> Region:
        """What an account has in a region; the default ones where none are named."""
        key = (account or self.default_account, name or self.default_region)
        if key not in self.regions:
            self.regions[key] = Region(self, *key)
        return self.regions[key]

    def identity(self, access_key: str) -> Identity:
        """Whom the key stands for; unknown keys are a user of the default account."""
        if access_key not in self.identities:
            account = self.default_account
            arn = f"arn:aws:iam::{account}:user/{access_key}"
            self.identities[access_key] = Identity(account, arn, f"AIDA{access_key}")
        return self.identities[access_key]

    def assume(self, role_arn: str, session_name: str) -> tuple[str, Identity]:
        """Issue a key for a role's session."""
        account, role = role_arn.split(":")[4], role_arn.rsplit("/", 1)[-1]
        key = f"ASIA{secrets.token_hex(8).upper()}"
        arn = f"arn:aws:sts::{account}:assumed-role/{role}/{session_name}"
        self.identities[key] = Identity(account, arn, f"AROA{role.upper()[:16]}:{session_name}")
        return key, self.identities[key]

    def violate(self, rule: str, operation: str, resource: str, detail: str) -> None:
        """Note conduct that AWS permits and that hurts."""
        self.audit.violate(Violation(self.now, rule, operation, resource, detail))
