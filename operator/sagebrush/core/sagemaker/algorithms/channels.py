"""Channels without which a built-in algorithm fails, told before the job starts."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from sagebrush.core.sagemaker.algorithms.tables import table

_DEFAULT_DISTRIBUTION = "FullyReplicated"


def channel_problems(algorithm: str, channel_names: Sequence[str], distributions: Mapping[str, str]) -> list[str]:
    """
    What is wrong with the channels of a built-in algorithm: one sentence each, naming the field; empty when fine.

    *distributions* maps channels to SageMaker's S3DataDistributionType; what it leaves out is FullyReplicated, as AWS
    has it. Channels that the documentation doesn't mention are let through. Source: "Parameters for Built-in
    Algorithms" and, for distributions, each algorithm's "Input/Output Interface" in the SageMaker Developer Guide.
    Raises SpecError for an algorithm that isn't built in.
    """
    known = table(algorithm)
    documented = {channel.name for channel in known.channels}
    found = []
    for channel in known.channels:
        if channel.name not in channel_names:
            if channel.required:
                others = [name for name in channel_names if name not in documented]
                near = get_close_matches(channel.name, others, n=1)
                advice = f"; did you mean {near[0]} to be it?" if near else ""
                found.append(f"spec.channels: {algorithm} needs a channel called {channel.name}{advice}")
            continue
        given = distributions.get(channel.name, _DEFAULT_DISTRIBUTION)
        if channel.distribution not in (None, given):
            found.append(
                f"spec.channels[{channel.name}].distribution: {algorithm} reads this channel as "
                f"{channel.distribution} only, not {given}"
            )
    return found
