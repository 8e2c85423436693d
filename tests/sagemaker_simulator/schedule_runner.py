"""Fires scheduled actions on the virtual clock."""

import math

from tests.sagemaker_simulator.autoscaling import ScalableTarget, Schedule


def arm(target: ScalableTarget, schedule: Schedule) -> None:
    """Lay the next firing, if there is one within StartTime and EndTime."""
    world = target.region.world
    after = max(world.now, schedule.request.get("StartTime", -math.inf) - 1e-6)
    moment = schedule.following(after)
    if moment is not None and moment <= schedule.request.get("EndTime", math.inf):
        schedule.event = world.agenda.at(moment, lambda: _fire(target, schedule))


def _fire(target: ScalableTarget, schedule: Schedule) -> None:
    """Set the bounds, then bring the capacity within them."""
    if not target.suspended.get("ScheduledScalingSuspended"):
        bounds = schedule.request["ScalableTargetAction"]
        target.least = bounds.get("MinCapacity", target.least)
        target.most = bounds.get("MaxCapacity", target.most)
        name = schedule.request["ScheduledActionName"]
        least, most = target.least, target.most
        target.clamp(f"scheduled action name {name} was triggered: min capacity {least}, max capacity {most}")
    arm(target, schedule)
