"""spec.scaling of an endpoint."""

from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field

from sagebrush.api.application_auto_scaling import ApplicationAutoScaling
from sagebrush.api.meta import ApiModel, Duration, list_map, rules

Latency = Annotated[str, Field(pattern=r"^([1-9][0-9]{0,5}ms|[1-9][0-9]{0,3}s)$", max_length=8)]


class QueryTarget(ApiModel):
    """A value of one's own from Prometheus."""

    expression: Annotated[str, Field(min_length=1, max_length=4096)]
    """PromQL that gives one value, the demand on all replicas. None, NaN or several hold the replicas."""
    per_replica: Annotated[float, Field(gt=0)]
    """What one replica should carry of it."""


class ScalingTarget(ApiModel):
    """What each replica should carry: exactly one of the fields, latePercent beside latency."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "[has(self.requestsPerMinute), has(self.inFlight), has(self.latency), has(self.percentOfCapacity), has(self.query)].filter(x, x).size() == 1",
                "give exactly one of requestsPerMinute, inFlight, latency, percentOfCapacity and query",
            ),
            ("!has(self.latePercent) || has(self.latency)", "latePercent belongs to latency"),
        )
    )

    requests_per_minute: Annotated[float, Field(gt=0)] | None = None
    """Requests per minute per replica (SageMakerVariantInvocationsPerInstance)."""
    in_flight: Annotated[float, Field(gt=0)] | None = None
    """Requests per replica that wait or are being answered at the same time."""
    latency: Latency | None = None
    """Bound, such as 500ms: as few replicas as keep it."""
    late_percent: Annotated[float, Field(gt=0, le=10)] | None = None
    """Share of requests that may be later than latency, or refused; 0.1 when unset."""
    percent_of_capacity: Annotated[float, Field(gt=0, le=100)] | None = None
    """Share of a replica's measured capacity; SageMaker's sizing rule is 50."""
    query: QueryTarget | None = None
    """A value of one's own from Prometheus."""


class StatedCapacity(ApiModel):
    """What one replica can do, as its owner states it."""

    requests_per_second: Annotated[float, Field(gt=0)] | None = None
    """Requests per second; measured when unset."""
    concurrency: Annotated[int, Field(ge=1, le=1024)] = 1
    """Requests worked on at the same time."""


class Step(ApiModel):
    """One step of a step policy."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("has(self.above) != has(self.below)", "give exactly one of above and below"),
            ("has(self.change) != has(self.changePercent)", "give exactly one of change and changePercent"),
            (
                "(has(self.change) ? self.change > 0 : self.changePercent > 0) == has(self.above)",
                "above adds replicas (a change over 0), below removes them (a change under 0)",
            ),
        )
    )

    above: Annotated[float, Field(ge=0)] | None = None
    """From this value per replica, of the target's metric, upwards."""
    below: Annotated[float, Field(ge=0)] | None = None
    """Under this value per replica."""
    change: Annotated[int, Field(ge=-1000, le=1000)] | None = None
    """Replicas to add, or with a minus to remove."""
    change_percent: Annotated[int, Field(ge=-100, le=1000)] | None = None
    """The same in percent of the replicas, rounded away from 0."""


class StepScaling(ApiModel):
    """Step scaling beside the target: the farthest step that is reached counts."""

    steps: Annotated[
        list[Step], Field(min_length=1, max_length=10, json_schema_extra={"x-kubernetes-list-type": "atomic"})
    ]
    """The steps."""
    cooldown: Duration = "60s"
    """Time after a step before the next one."""


class Schedule(ApiModel):
    """Bounds for hours that are known in advance."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("has(self.minReplicas) || has(self.maxReplicas)", "give minReplicas, maxReplicas or both"),
            (
                "!has(self.minReplicas) || !has(self.maxReplicas) || self.minReplicas <= self.maxReplicas",
                "minReplicas must not be above maxReplicas",
            ),
        )
    )

    name: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?$")]
    """Name, as status and Events tell it."""
    cron: Annotated[str, Field(min_length=9, max_length=128, pattern=r"^\S+( +\S+){4}$")]
    """When it begins: minute, hour, day, month, day of week, such as 0 8 * * MON-FRI."""
    duration: Duration
    """How long it lasts."""
    time_zone: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_+/-]+$")] = "UTC"
    """IANA time zone of cron."""
    min_replicas: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Floor: asked for as long before its begin as replicas take to become Ready."""
    max_replicas: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Cap, within the policy's own."""
    lead: Duration | None = None
    """Time before its begin at which the floor is asked for; the measured start-up time when unset."""


class Prediction(ApiModel):
    """What the endpoint's history in Prometheus foretells. Only ever raises the number of replicas."""

    mode: Literal["Auto", "Observe", "Off"] = "Auto"
    """Auto acts on it, Observe only shows it in status."""
    max_replicas: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Most replicas that a prediction alone may ask for."""


class Burst(ApiModel):
    """Panic mode: a queue, or requests beyond what the replicas can do, within seconds."""

    mode: Literal["Auto", "Off"] = "Auto"
    """Off: bursts are followed like any other change."""
    hold: Duration = "60s"
    """No scale-in for this long after the last sign of a burst."""
    max_percent: Annotated[int, Field(ge=10, le=10000)] = 900
    """Most replicas that one burst decision may add, in percent of those that serve."""


class ChangeLimit(ApiModel):
    """Most by which the number of replicas may change within a period: the larger of both, where both are given."""

    model_config = ConfigDict(
        json_schema_extra=rules(("has(self.replicas) || has(self.percent)", "give replicas, percent or both"))
    )

    replicas: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Replicas."""
    percent: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Percent of the number at the period's begin, rounded up."""
    period: Duration = "60s"
    """The period."""


_AWS_ENGINE = "self.engine == 'ApplicationAutoScaling'"
_COMMON_TO_BOTH_ENGINES = (
    "has(self.target.requestsPerMinute) && self.mode == 'Auto' && !has(self.capacity) && !has(self.schedules) "
    "&& !has(self.prediction)"
)
_OF_ONE_VARIANT = "!has(self.source) && !has(self.stepPolicy) && !has(self.burst) && !has(self.scaleOutLimit) && !has(self.scaleInLimit)"


def _rules(common: str) -> dict[str, Any]:
    return rules(
        ("self.minReplicas <= self.maxReplicas", "minReplicas must not be above maxReplicas"),
        (
            f"{_AWS_ENGINE} || !has(self.applicationAutoScaling)",
            "applicationAutoScaling is honoured with engine: ApplicationAutoScaling only",
        ),
        (
            f"!({_AWS_ENGINE}) || {common}",
            "engine: ApplicationAutoScaling honours target.requestsPerMinute, bounds and cooldowns; all else has applicationAutoScaling",
        ),
    )


class VariantScaling(ApiModel):
    """How many instances of one of several variants, by request metrics. Missing data never scales in."""

    model_config = ConfigDict(json_schema_extra=_rules(_COMMON_TO_BOTH_ENGINES))

    mode: Literal["Auto", "Recommend", "Off"] = "Auto"
    """Recommend computes and shows, and changes nothing; Off does neither."""
    engine: Literal["Sagebrush", "ApplicationAutoScaling"] = "Sagebrush"
    """Who decides: the operator, from request metrics, or AWS itself (backend SageMaker only)."""
    min_replicas: Annotated[
        int,
        Field(
            le=1000,
            json_schema_extra=rules(
                (
                    "self >= 1",
                    "minReplicas: at least 1; scale to zero needs a gateway that holds requests, which there is not yet",
                ),
            ),
        ),
    ] = 1
    """Fewest replicas; at least 1."""
    max_replicas: Annotated[int, Field(ge=1, le=1000)]
    """Most replicas."""
    target: ScalingTarget
    """What each replica should carry."""
    capacity: StatedCapacity | None = None
    """What one replica can do; measured when unset."""
    schedules: Annotated[list[Schedule], Field(max_length=16, json_schema_extra=list_map("name"))] = []
    """Floors and caps for hours that are known in advance."""
    prediction: Prediction | None = None
    """What the history foretells; acted on when unset."""
    scale_out_cooldown: Duration = "0s"
    """Time after a scale-out before the next one."""
    scale_in_cooldown: Duration = "5m"
    """How long fewer replicas must have been enough, and nothing changed, before any is removed."""
    application_auto_scaling: ApplicationAutoScaling | None = None
    """What AWS' own engine takes beyond these."""


class Scaling(VariantScaling):
    """How many replicas, by request metrics. Missing data never scales in."""

    model_config = ConfigDict(json_schema_extra=_rules(f"{_COMMON_TO_BOTH_ENGINES} && {_OF_ONE_VARIANT}"))

    source: Literal["Prometheus", "Pods"] | None = None
    """Source of the newest request metrics: Prometheus when unset, or the pods, every second (backend Cluster)."""
    step_policy: StepScaling | None = None
    """Steps beside the target."""
    burst: Burst | None = None
    """Panic mode; on when unset."""
    scale_out_limit: ChangeLimit | None = None
    """Most that may be added within a period; a burst may exceed it. No limit when unset."""
    scale_in_limit: ChangeLimit | None = None
    """Most that may be removed within a period. No limit when unset."""

    @classmethod
    def of_variant(cls, scaling: VariantScaling | None) -> Self | None:
        """The policy of one of several variants, as that of a single one."""
        return None if scaling is None else cls.model_validate(scaling.to_dict())
