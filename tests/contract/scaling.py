"""Short forms of the calls to Application Auto Scaling."""

from typing import Any

from tests.contract.aws import Aws

RESOURCE = "endpoint/endpoint/variant/AllTraffic"
TARGET = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": RESOURCE,
    "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
}
MINUTE = 60


def register(aws: Aws, least: int = 1, most: int = 4, **fields: Any) -> str:
    answer = aws.autoscaling.register_scalable_target(**TARGET | {"MinCapacity": least, "MaxCapacity": most} | fields)
    return str(answer["ScalableTargetARN"])


def track(
    aws: Aws, value: float = 100, *, name: str = "track", metric: str = "InvocationsPerInstance", **fields: Any
) -> Any:
    return aws.autoscaling.put_scaling_policy(
        **TARGET,
        PolicyName=name,
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": value,
            "PredefinedMetricSpecification": {"PredefinedMetricType": f"SageMakerVariant{metric}"},
        }
        | fields,
    )


def schedule(aws: Aws, expression: str, *, name: str = "night", least: int = 3, **fields: Any) -> None:
    aws.autoscaling.put_scheduled_action(
        **TARGET,
        ScheduledActionName=name,
        Schedule=expression,
        ScalableTargetAction={"MinCapacity": least},
        **fields,
    )


def desired(aws: Aws) -> int:
    return int(aws.describe()["ProductionVariants"][0]["DesiredInstanceCount"])


def activities(aws: Aws, **fields: Any) -> Any:
    return aws.autoscaling.describe_scaling_activities(ServiceNamespace="sagemaker", ResourceId=RESOURCE, **fields)[
        "ScalingActivities"
    ]
