"""Where the images of SageMaker's built-in algorithms are kept: one registry per region, as data in registries.json."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from sagebrush.core.plan import SpecError
from sagebrush.core.sagemaker.algorithms.tables import check_name


@dataclass(frozen=True, slots=True)
class Image:
    """One version of an algorithm: the owner whose account holds it in each region, its repository and its tag."""

    owner: str
    repository: str
    tag: str


@dataclass(frozen=True, slots=True)
class Registries:
    """Everything known about images."""

    domains: Mapping[str, str]
    """Domain suffix by the beginning of a region's name; the longest beginning that fits counts."""
    accounts: Mapping[str, Mapping[str, str]]
    """Region -> owner -> account id."""
    images: Mapping[str, Mapping[str, Image]]
    """Algorithm -> version -> image, the newest version last."""

    def domain(self, region: str) -> str:
        """Suffix of the registry's host name in *region*; every partition of AWS has its own."""
        return self.domains[max((start for start in self.domains if region.startswith(start)), key=len)]

    def regions(self, owner: str) -> list[str]:
        """The regions where *owner* has an account, sorted."""
        return sorted(region for region, owners in self.accounts.items() if owner in owners)


@cache
def registries() -> Registries:
    """What registries.json says, read once."""
    raw: Any = json.loads(resources.files(__package__).joinpath("registries.json").read_text(encoding="utf-8"))
    images = {
        algorithm: {version: Image(row["account"], row["repository"], row["tag"]) for version, row in versions.items()}
        for algorithm, versions in raw["images"].items()
    }
    return Registries(raw["domains"], raw["accounts"], images)


def image_uri(algorithm: str, *, region: str, version: str | None = None) -> str:
    """
    The image that trains and serves *algorithm* in *region*; the newest version that is known when none is named.

    Source: AWS' page "Docker Registry Paths and Example Code", in the edition of the SageMaker Python SDK 2.257.6.
    Raises SpecError naming spec.algorithm.name, spec.algorithm.version or spec.sageMaker.region, and what is legal.
    """
    check_name(algorithm)
    known = registries()
    versions = known.images[algorithm]
    chosen = version if version is not None else list(versions)[-1]
    if chosen not in versions:
        raise SpecError(f"spec.algorithm.version: {algorithm} has no version {chosen}; one of {', '.join(versions)}")
    image = versions[chosen]
    account = known.accounts.get(region, {}).get(image.owner)
    if account is None:
        legal = ", ".join(known.regions(image.owner))
        raise SpecError(
            f"spec.sageMaker.region: {algorithm} {chosen} has no known image in {region or 'no region'}; "
            f"one of {legal}, or name the image in spec.algorithm.image"
        )
    return f"{account}.dkr.ecr.{region}.{known.domain(region)}/{image.repository}:{image.tag}"
