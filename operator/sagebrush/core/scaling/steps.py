"""stepPolicy: SageMaker's step scaling beside the target."""

from collections.abc import Sequence
from math import ceil, floor

from sagebrush.core.scaling.compiled import StepRule


def step_at(steps: Sequence[StepRule], *, value: float) -> StepRule | None:
    """The farthest step that *value*, of the target's metric and per replica, reaches; None: none is."""
    reached = None
    for step in steps:
        if step.above is not None and value >= step.above:
            if reached is None or reached.above is None or step.above > reached.above:
                reached = step
        elif (
            step.below is not None
            and value < step.below
            and (reached is None or (reached.below is not None and step.below < reached.below))
        ):
            reached = step
    return reached


def stepped(step: StepRule, *, replicas: int) -> int:
    """The replicas after the step; percents are rounded away from 0."""
    if step.change is not None:
        return max(0, replicas + step.change)
    change = replicas * (step.percent or 0) / 100
    return max(0, replicas + (ceil(change) if change > 0 else floor(change)))
