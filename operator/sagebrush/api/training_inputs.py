"""What a TrainingJob trains with, on what, and where the model goes."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from sagebrush.api.aws import limited
from sagebrush.api.meta import ApiModel, Duration, StorageUri, Text, list_map, rules


class BuiltInAlgorithm(StrEnum):
    """SageMaker's algorithms, by its names; both backends have them."""

    LINEAR_LEARNER = "linear-learner"
    XGBOOST = "xgboost"
    KMEANS = "kmeans"
    PCA = "pca"
    RANDOM_CUT_FOREST = "random-cut-forest"
    KNN = "knn"
    FACTORIZATION_MACHINES = "factorization-machines"


class MetricDefinition(ApiModel):
    """A metric read from the training log."""

    name: Annotated[str, Field(min_length=1, max_length=255)]
    """Name in status.metrics, such as validation:accuracy."""
    regex: Annotated[str, Field(min_length=1, max_length=500)]
    """Pattern (RE2 syntax) whose first group is the number; the last match in the log counts."""


class Algorithm(ApiModel):
    """What trains: a built-in algorithm by name, or an image that speaks SageMaker's training contract."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "has(self.name) != has(self.image)",
                "give exactly one of name (a built-in algorithm) and image (your own)",
            ),
            (
                "!has(self.version) || has(self.name)",
                "version belongs to name (a built-in algorithm): write an image's version in its tag",
            ),
        )
    )

    name: BuiltInAlgorithm | None = None
    """Built-in algorithm."""
    version: Annotated[str, Field(min_length=1, max_length=32)] | None = None
    """Version of the built-in algorithm's image, such as 1.7-1; the newest known when unset. Honoured by backend SageMaker."""
    image: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    """Training image; it is started with the argument train, as SageMaker does."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """When the node pulls the image."""
    entrypoint: Annotated[list[Text], Field(max_length=32)] | None = None
    """Replaces the image's entrypoint (SageMaker's ContainerEntrypoint)."""
    arguments: Annotated[list[Text], Field(max_length=100)] | None = None
    """Replaces the argument train (SageMaker's ContainerArguments)."""
    metric_definitions: Annotated[list[MetricDefinition], Field(max_length=40, json_schema_extra=list_map("name"))] = []
    """Metrics to read from the log; built-in algorithms bring their own."""


class Channel(ApiModel):
    """One named input, laid at /opt/ml/input/data/<name>."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "(self.dataType == 'AugmentedManifestFile') == has(self.attributeNames)",
                "attributeNames belongs to dataType: AugmentedManifestFile",
            ),
        )
    )

    name: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9.\-_]+$")]
    """Name of the channel, such as train or validation."""
    uri: StorageUri
    """An object, or every object below a prefix: s3://bucket/prefix, pvc://claim/path, https://host/file."""
    data_type: Literal["S3Prefix", "ManifestFile", "AugmentedManifestFile"] = "S3Prefix"
    """How uri is read. Cluster honours S3Prefix."""
    attribute_names: (
        Annotated[
            list[Annotated[str, limited("AttributeName")]],
            Field(min_length=1, max_length=16, json_schema_extra={"x-kubernetes-list-type": "atomic"}),
        ]
        | None
    ) = None
    """Attributes of an AugmentedManifestFile that are used, in their order."""
    content_type: Annotated[str, Field(max_length=256)] | None = None
    """MIME type, told to the algorithm."""
    compression: Literal["None", "Gzip"] = "None"
    """Gzip objects are unpacked while they are fetched."""
    record_wrapper: Literal["None", "RecordIO"] = "None"
    """RecordIO wraps each record. Cluster honours None."""
    input_mode: Literal["File", "FastFile", "Pipe"] = "File"
    """How the data reaches the algorithm. Cluster honours File: a copy on the pod's volume."""
    distribution: Literal["FullyReplicated", "ShardedByS3Key"] = "FullyReplicated"
    """Whether every instance gets all objects, or each n-th one."""


class Output(ApiModel):
    """Where results go."""

    uri: Annotated[str, Field(pattern=r"^(s3|pvc)://[^ ]+$", max_length=1024)]
    """Prefix; the model is written to <uri>/<job>/output/model.tar.gz."""
    upload_timeout: Duration = "10m"
    """Longest time the upload may take after training has ended. Honoured by backend Cluster."""
