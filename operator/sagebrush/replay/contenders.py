"""Who takes part in a replay: a policy, how it sees the system, and where its replicas run."""

from dataclasses import dataclass, replace

from sagebrush.api.scaling import Scaling
from sagebrush.replay.anchors import (
    HIGH_RESOLUTION,
    STANDARD,
    HorizontalPodAutoscaler,
    Keda,
    KnativePodAutoscaler,
    TargetTracking,
    TargetTrackingConstants,
)
from sagebrush.replay.autoscaler import (
    CLOUDWATCH,
    CLOUDWATCH_HIGH_RESOLUTION,
    PROMETHEUS_15S,
    QUEUE_PROXIES,
    Maker,
    Pipeline,
)
from sagebrush.replay.system import System

SAGEMAKER_STARTUP_SECONDS = 360
"""Until a new instance of an endpoint is in service: 5 to 7 minutes."""

OURS = "sagebrush"


@dataclass(frozen=True, slots=True)
class Contender:
    """One column of the table."""

    name: str
    make: Maker
    pipeline: Pipeline | None = None
    """None: as the system has it."""
    on_sagemaker: bool = False
    """Whether it scales SageMaker's instances only, with their start-up time, whatever the others run on."""

    def within(self, system: System) -> System:
        """The system as this one has it."""
        if self.pipeline is not None:
            system = replace(system, pipeline=self.pipeline)
        if self.on_sagemaker and not system.serialised:
            startup = max(system.startup_seconds, SAGEMAKER_STARTUP_SECONDS)
            system = replace(system, startup_seconds=startup, serialised=True)
        return system


def hpa(utilisation: float, *, window_seconds: int = 60) -> Contender:
    """HPA on a query over *window_seconds*, targets at *utilisation* of a replica's capacity."""
    name = f"HPA {utilisation:g}" if window_seconds == 60 else f"HPA {utilisation:g} [{window_seconds}s]"
    return Contender(
        name,
        lambda situation, _: HorizontalPodAutoscaler(situation, utilisation=utilisation, window_seconds=window_seconds),
        PROMETHEUS_15S,
    )


def keda(utilisation: float) -> Contender:
    """KEDA with its documentation's query."""
    return Contender(
        f"KEDA {utilisation:g}", lambda situation, _: Keda(situation, utilisation=utilisation), PROMETHEUS_15S
    )


def kpa(utilisation: float) -> Contender:
    """Knative."""
    return Contender(
        f"KPA {utilisation:g}",
        lambda situation, _: KnativePodAutoscaler(situation, utilisation=utilisation),
        QUEUE_PROXIES,
    )


def target_tracking(utilisation: float, *, high_resolution: bool = False) -> Contender:
    """SageMaker's own, on metrics by the minute or of ten seconds."""
    constants: TargetTrackingConstants = HIGH_RESOLUTION if high_resolution else STANDARD
    return Contender(
        f"{'TT 10s' if high_resolution else 'TT'} {utilisation:g}",
        lambda situation, _: TargetTracking(situation, utilisation=utilisation, constants=constants),
        CLOUDWATCH_HIGH_RESOLUTION if high_resolution else CLOUDWATCH,
        on_sagemaker=True,
    )


def ours(scaling: Scaling | None = None, *, name: str = OURS, pipeline: Pipeline | None = None) -> Contender:
    """The operator's policy, in its default configuration where no other is given."""
    from sagebrush.replay.production import production

    return Contender(name, production(scaling), pipeline)


IN_CLUSTER = (hpa(0.7), hpa(0.6), keda(0.7), kpa(0.7), kpa(0.6))
"""The anchors for pods."""

ON_SAGEMAKER = (
    target_tracking(0.7),
    target_tracking(0.5),
    target_tracking(0.7, high_resolution=True),
    target_tracking(0.5, high_resolution=True),
)
"""The anchors for SageMaker's instances."""
