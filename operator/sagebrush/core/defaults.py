"""What the operator brings where the user says nothing."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Defaults:
    """Part of the operator's settings that decisions depend on."""

    server_image: str
    pull_policy: str
    cluster_domain: str
    version: str
