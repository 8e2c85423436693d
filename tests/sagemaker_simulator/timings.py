"""How long things take, in virtual seconds; after the reference §1 and §9."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Timings:
    """Durations of every phase; a fault rule may override some of them for single jobs and endpoints."""

    training_starting: float = 60
    training_downloading: float = 20
    training: float = 180
    training_uploading: float = 15
    training_stopping: float = 30
    training_interrupted: float = 60
    training_restarting: float = 20
    training_deleting: float = 10
    spot_billable_fraction: float = 0.3

    endpoint_creating: float = 240
    endpoint_updating: float = 240
    """A blue/green update without waits, or one batch of a rolling one."""
    endpoint_draining: float = 30
    """The part of an update in which the old fleet is taken down."""
    endpoint_scaling_out: float = 180
    endpoint_scaling_in: float = 30
    """Also a change of weights alone."""
    endpoint_deleting: float = 60
    endpoint_rolling_back: float = 60
    endpoint_capacity_failure: float = 300
    endpoint_system_update: float = 300
    ping_window: float = 480
    """One launch's health check window; ContainerStartupHealthCheckTimeoutInSeconds replaces it."""
    ping_launches: int = 3

    model_latency: float = 0.05
    """Seconds that a prediction takes: concurrency is rate × this."""
