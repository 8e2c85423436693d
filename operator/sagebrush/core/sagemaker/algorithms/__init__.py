"""SageMaker's built-in algorithms: which image runs them, and what they accept, known before a job is paid for."""

from sagebrush.core.sagemaker.algorithms.channels import channel_problems
from sagebrush.core.sagemaker.algorithms.hyper_parameters import problems
from sagebrush.core.sagemaker.algorithms.images import image_uri
from sagebrush.core.sagemaker.algorithms.tables import ALGORITHMS

__all__ = ["ALGORITHMS", "channel_problems", "image_uri", "problems"]
