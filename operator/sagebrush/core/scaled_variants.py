"""The variants of an endpoint that our own policy scales, on whatever backend. Pure."""

from typing import NamedTuple

from sagebrush.api.meta import Backend
from sagebrush.api.model_endpoint import ModelEndpointSpec, ModelEndpointStatus
from sagebrush.api.scaling import Scaling
from sagebrush.api.scaling_status import ScalingStatus
from sagebrush.core.render.deployment import VARIANT
from sagebrush.core.sagemaker.endpoint_request import variants_of
from sagebrush.core.sagemaker.endpoint_variants import OWN_ENGINE, scaled_by, scaling_before


class ScaledVariant(NamedTuple):
    """A variant with its policy."""

    name: str
    scaling: Scaling
    before: ScalingStatus | None
    """What status says of it."""
    serialised: bool
    """Whether nothing can be changed while a start is under way."""


def scaled_variants(spec: ModelEndpointSpec, status: ModelEndpointStatus) -> tuple[ScaledVariant, ...]:
    """All of them. Raises SpecError for a spec that SageMaker can't serve."""
    if spec.backend is not Backend.SAGEMAKER:
        return (ScaledVariant(VARIANT, spec.scaling, status.scaling, serialised=False),) if spec.scaling else ()
    variants = variants_of(spec)
    only = len(variants) == 1
    return tuple(
        ScaledVariant(name, scaling, scaling_before(status, name, only=only), serialised=True)
        for name, scaling in scaled_by(variants, OWN_ENGINE).items()
    )
