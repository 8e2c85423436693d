"""What AWS checks about roles, images and artifacts before it says yes."""

import re
from typing import Any

from tests.sagemaker_simulator.calls import Call
from tests.sagemaker_simulator.errors import invalid

ECR = re.compile(r"\d{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com(\.cn)?/[a-z0-9._/-]+([:@][A-Za-z0-9._:-]+)?")


def check_role(call: Call, role: str) -> None:
    """The execution role is the caller's account's, and SageMaker may assume it."""
    if role and role.split(":")[4] != call.identity.account:
        raise invalid("Cross-account pass role is not allowed.")
    if call.world.faults.strike("unassumable_role", role):
        raise invalid(
            f"Could not assume role {role}. Please ensure that the role exists and allows principal "
            "'sagemaker.amazonaws.com' to assume the role."
        )


def check_container(call: Call, container: dict[str, Any]) -> None:
    """The image can be pulled and the model data is there (reference §1.2: CreateModel checks both at once)."""
    image = container.get("Image")
    if image:
        vpc = container.get("ImageConfig", {}).get("RepositoryAccessMode") == "Vpc"
        if not vpc and not ECR.fullmatch(image):
            raise invalid(f'Using non-ECR image "{image}" without Vpc repository access mode is not supported.')
        if call.world.faults.strike("missing_image", image):
            raise invalid(f"Requested image {image} not found.")
    elif not container.get("ModelPackageName"):
        raise invalid("Image or ModelPackageName must be given for a container.")
    data = container.get("ModelDataUrl")
    if data and not call.world.storage.exists(data, region=call.region.name):
        raise invalid(f"Could not find model data at {data}.")
