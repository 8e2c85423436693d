"""Imports every room that registers operations, so that the registry is whole."""

from tests.sagemaker_simulator import (
    autoscaling_operations,
    cloudwatch,
    endpoint_operations,
    hosting_operations,
    logs,
    runtime,
    sts,
    training_operations,
)

__all__ = [
    "autoscaling_operations",
    "cloudwatch",
    "endpoint_operations",
    "hosting_operations",
    "logs",
    "runtime",
    "sts",
    "training_operations",
]
