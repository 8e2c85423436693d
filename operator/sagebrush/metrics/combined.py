"""One pair of readings from two: the pods' own, which are newer, and Prometheus', which reach back."""

from dataclasses import replace

from sagebrush.core.scaling.window import Problem, Reading, Readings

_ENOUGH_OF_SPAN = 0.5


def combined(pods: Readings, prometheus: Readings) -> tuple[Readings, bool, str]:
    """For each window the better reading, whether the pods were seen at all, and the source in words.

    The pods' reading where it is complete. Else Prometheus' where that is complete, for the pods' is still filling (the
    operator has just begun to look) or lacks a pod; but not where the pods that did answer show more than it: what they
    counted did arrive. Where neither is complete, the one that shows more; where neither shows anything, the reason of
    both.
    """
    short, long = (_better(*pair) for pair in zip(pods, prometheus, strict=True))
    seen = pods.short.requests_per_minute is not None or pods.long.requests_per_minute is not None
    if short is prometheus.short:
        return Readings(short=short, long=long), seen, f"Prometheus, as the pods are not enough: {pods.short.message}"
    return Readings(short=short, long=long), seen, "Pods"


def doubted(reading: Reading, *, message: str) -> Reading:
    """The reading as one that may lack requests; one that is unknown or in doubt already stays so."""
    if reading.requests_per_minute is None or not reading.complete:
        return reading
    return replace(reading, complete=False, problem=Problem.PARTIAL, message=message)


def _better(pods: Reading, prometheus: Reading) -> Reading:
    ours, theirs = pods.requests_per_minute, prometheus.requests_per_minute
    if ours is None and theirs is None:
        return replace(pods, message=f"{pods.message}; and in Prometheus: {prometheus.message}")
    if pods.complete or theirs is None:
        return pods
    if ours is None:
        return prometheus
    if prometheus.complete:
        return pods if _shows_more(pods, prometheus) else prometheus
    return pods if ours >= theirs else prometheus


def _shows_more(pods: Reading, prometheus: Reading) -> bool:
    """Whether some of the pods alone have counted more, over a time that is not much shorter: a moment's rate is noise."""
    if pods.problem is not Problem.PARTIAL or pods.span < prometheus.span * _ENOUGH_OF_SPAN:
        return False
    return (pods.requests_per_minute or 0.0) > (prometheus.requests_per_minute or 0.0)
