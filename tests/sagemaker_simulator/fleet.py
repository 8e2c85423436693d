"""The instances behind an endpoint: variants with counts, weights and counters of what they served."""

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.sagemaker_simulator.world import Region, Thing

_serials = itertools.count(1)


@dataclass
class Variant:
    """A production variant as it runs; `served` counts each instance's (virtual) invocations by its serial number."""

    config: dict[str, Any]
    image: str
    current_count: int = 0
    desired_count: int = 0
    current_weight: float = 1.0
    desired_weight: float = 1.0
    status: str | None = None
    status_since: float = 0.0
    served: dict[int, float] = field(default_factory=dict)
    invocations: float = 0.0
    """All that it ever served, virtual."""
    per_instance: float = 0.0
    """The integral of InvocationsPerInstance: each request adds 1/n."""

    @property
    def name(self) -> str:
        return str(self.config["VariantName"])

    @property
    def instance_type(self) -> str | None:
        return self.config.get("InstanceType")

    @property
    def serverless(self) -> dict[str, Any] | None:
        return self.config.get("ServerlessConfig")

    def resize(self, count: int) -> None:
        """So many instances run from now on; those that go take their counters along."""
        while len(self.served) < count:
            self.served[next(_serials)] = 0.0
        for serial in sorted(self.served)[count:]:
            del self.served[serial]
        self.current_count = count

    def serve(self, requests: float) -> None:
        """Spread requests over the instances; a serverless variant counts as one."""
        if self.serverless and not self.served:
            self.served[next(_serials)] = 0.0
        self.invocations += requests
        if self.served:
            each = requests / len(self.served)
            self.per_instance += each
            for serial in self.served:
                self.served[serial] += each

    def set_status(self, status: str | None, *, now: float) -> None:
        self.status, self.status_since = status, now

    def describe(self, *, pending: bool = False) -> dict[str, Any]:
        """A member of ProductionVariants in DescribeEndpoint."""
        answer: dict[str, Any] = {
            "VariantName": self.name,
            "DeployedImages": [
                {"SpecifiedImage": self.image, "ResolvedImage": self.image, "ResolutionTime": self.status_since}
            ],
            "CurrentWeight": self.current_weight,
            "DesiredWeight": self.desired_weight,
            "CurrentInstanceCount": self.current_count,
            "DesiredInstanceCount": self.desired_count,
            "RoutingConfig": self.config.get("RoutingConfig"),
            "ManagedInstanceScaling": self.config.get("ManagedInstanceScaling"),
        }
        if self.serverless:
            answer |= {"CurrentServerlessConfig": self.serverless, "DesiredServerlessConfig": self.serverless}
            del answer["CurrentInstanceCount"], answer["DesiredInstanceCount"]
        elif pending:
            answer["InstanceType"] = self.instance_type
        if self.status:
            answer["VariantStatus"] = [{"Status": self.status, "StartTime": self.status_since}]
        return answer


@dataclass
class Fleet:
    """All variants of one configuration."""

    config_name: str
    variants: list[Variant]

    def variant(self, name: str) -> Variant | None:
        return next((variant for variant in self.variants if variant.name == name), None)

    def instances_of(self, instance_type: str) -> int:
        return sum(
            max(variant.current_count, variant.desired_count)
            for variant in self.variants
            if variant.instance_type == instance_type
        )

    def by_type(self) -> dict[str, int]:
        """Desired instances by type."""
        types = {variant.instance_type for variant in self.variants if variant.instance_type}
        return {kind: self.instances_of(kind) for kind in sorted(types)}

    def set_status(self, status: str | None, *, now: float) -> None:
        for variant in self.variants:
            variant.set_status(status, now=now)

    def serve(self, requests: float) -> None:
        """Spread requests over the variants by weight."""
        total = sum(variant.current_weight for variant in self.variants)
        for variant in self.variants:
            if total > 0:
                variant.serve(requests * variant.current_weight / total)

    def start(self) -> None:
        """All desired instances run."""
        for variant in self.variants:
            variant.current_weight = variant.desired_weight
            variant.resize(variant.desired_count)


def build_fleet(region: "Region", config: "Thing") -> Fleet:
    """The variants of a configuration with their initial counts and weights; not running yet."""
    variants = []
    for variant in config.request["ProductionVariants"]:
        model = region.find("model", variant["ModelName"]) if variant.get("ModelName") else None
        container = {} if model is None else primary_container(model)
        count = 0 if variant.get("ServerlessConfig") else variant.get("InitialInstanceCount", 1)
        weight = variant.get("InitialVariantWeight", 1.0)
        variants.append(
            Variant(
                config=variant,
                image=container.get("Image", "none"),
                desired_count=count,
                desired_weight=weight,
                current_weight=weight,
                status_since=region.world.now,
            )
        )
    return Fleet(config.name, variants)


def primary_container(model: "Thing") -> dict[str, Any]:
    """The first container of a model."""
    containers = model.request.get("Containers") or [model.request.get("PrimaryContainer", {})]
    return dict(containers[0])
