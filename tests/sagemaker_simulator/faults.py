"""The fault plan: what goes wrong, when, and how often; the same rules from Python, YAML and the control API."""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from typing import Any

CALL_KINDS = {
    "throttle",
    "error",
    "delay",
    "lost_request",
    "lost_reply",
    "internal_error",
    "internal_error_after_commit",
    "access_denied",
}
WORLD_KINDS = {
    "eventual_consistency",
    "system_update",
    "out_of_service",
    "silent_rollback",
    "update_rollback_failed",
    "fail_ping",
    "endpoint_capacity",
    "missing_image",
    "unassumable_role",
    "quota",
    "training",
}


@dataclass
class Rule:
    """One rule. Fields that a kind doesn't know are ignored by it; globs are case-sensitive `fnmatch` ones.

    Call kinds: `throttle`, `error` (code, message, status), `delay` (seconds of wall time), `lost_request` (nothing
    done, connection closed), `lost_reply` (done, connection closed), `internal_error` (HTTP 500, nothing done),
    `internal_error_after_commit` (HTTP 500, done), `access_denied`. They match `operation` and `resource`.

    World kinds, with `resource` the glob of the thing's name: `eventual_consistency` (of: training-job, model,
    endpoint-config, endpoint or *; seconds), `system_update` (seconds: duration; after: virtual seconds from the
    rule's start), `out_of_service` (after), `silent_rollback` (failure_reason or none), `update_rollback_failed` (rolling updates only),
    `fail_ping` and `endpoint_capacity` (resource matches the endpoint; image matches its containers),
    `missing_image`, `unassumable_role` (resource matches the role's ARN), `quota` (instance_type, usage: endpoint |
    training job | spot training job, limit), `training` (duration, pending, failure_reason, interruptions, restarts,
    metrics of the jobs that match).
    """

    kind: str
    operation: str = "*"
    resource: str = "*"
    skip: int = 0
    times: int | None = 1
    """How often it strikes; None for ever. World rules about rates and sizes strike for ever."""

    seconds: float = 0.0
    after: float = 0.0
    code: str = "ValidationException"
    message: str = "injected"
    status: int = 400
    of: str = "*"
    image: str | None = None
    failure_reason: str | None = None
    instance_type: str = "*"
    usage: str = "*"
    limit: int = 0
    duration: float | None = None
    pending: float = 0.0
    interruptions: int = 0
    restarts: int = 0
    metrics: dict[str, float] = field(default_factory=dict)

    struck: int = 0

    def __post_init__(self) -> None:
        if self.kind not in CALL_KINDS | WORLD_KINDS:
            raise ValueError(f"unknown kind of fault: {self.kind}")

    def strikes(self) -> bool:
        """Count one match and say whether it is one that strikes."""
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.times is not None and self.struck >= self.times:
            return False
        self.struck += 1
        return True


class Faults:
    """The rules in force, first match first; `add` and `load` may come at any time."""

    def __init__(self, plan: Iterable[dict[str, Any]] = ()) -> None:
        self.rules: list[Rule] = []
        self.on_added: list[Any] = []
        self.load(plan)

    def add(self, kind: str, **how: Any) -> Rule:
        """Put a rule in force; see Rule for the fields."""
        if kind in {
            "eventual_consistency",
            "quota",
            "training",
            "missing_image",
            "unassumable_role",
            "system_update",
            "out_of_service",
        }:
            how.setdefault("times", None)
        rule = Rule(kind=kind, **how)
        self.rules.append(rule)
        for seen in self.on_added:
            seen(rule)
        return rule

    def load(self, plan: Iterable[dict[str, Any]]) -> list[Rule]:
        """Put the rules of a plan in force: a list of mappings with `kind` and the fields of Rule."""
        return [self.add(**rule) for rule in plan]

    def clear(self, kind: str = "*") -> None:
        """Lift the rules of this kind."""
        self.rules[:] = [rule for rule in self.rules if not fnmatchcase(rule.kind, kind)]

    def plan(self) -> list[dict[str, Any]]:
        """The rules as data, with how often each struck."""
        return [{each.name: getattr(rule, each.name) for each in fields(rule)} for rule in self.rules]

    def for_call(self, operation: str, resource: str) -> list[Rule]:
        """What befalls this call: any number of delays and at most one other fault."""
        befalling = []
        for rule in self.rules:
            if rule.kind not in CALL_KINDS or not fnmatchcase(operation, rule.operation):
                continue
            if fnmatchcase(resource, rule.resource) and rule.strikes():
                befalling.append(rule)
                if rule.kind != "delay":
                    break
        return befalling

    def denies(self, operation: str) -> bool:
        """Whether IAM denies an operation that AWS calls in the caller's name."""
        return any(rule.kind == "access_denied" and fnmatchcase(operation, rule.operation) for rule in self.rules)

    def strike(self, kind: str, *names: str, image: str | None = None) -> Rule | None:
        """The first world rule of this kind that matches one of the names (and the image) and strikes."""
        for rule in self.rules:
            if rule.kind != kind or not any(fnmatchcase(name, rule.resource) for name in names):
                continue
            if rule.image is not None and not (image and fnmatchcase(image, rule.image)):
                continue
            if rule.strikes():
                return rule
        return None

    def window(self, kind: str) -> float:
        """Virtual seconds for which a new thing of this kind isn't seen yet."""
        rules = [rule for rule in self.rules if rule.kind == "eventual_consistency" and fnmatchcase(kind, rule.of)]
        return rules[-1].seconds if rules else 0.0

    def quota(self, instance_type: str, usage: str) -> int | None:
        """How many instances may run at once; None without limit. The last rule that matches counts."""
        for rule in reversed(self.rules):
            matches = fnmatchcase(instance_type, rule.instance_type) and fnmatchcase(usage, rule.usage)
            if rule.kind == "quota" and matches:
                return rule.limit
        return None
