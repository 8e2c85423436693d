"""What is served: shared by an endpoint and its variants."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from sagebrush.api.meta import ApiModel, Duration, EnvVar, LocalObjectReference, Sha256, StorageUri, list_map, rules

Framework = Literal["scikit-learn", "xgboost", "lightgbm", "onnx", "mlflow", "inference.py"]
ALLOWANCE_PATTERN = r"^(Unpickling|Requirements|\w[\w.]*\.\w+)$"
Allowance = Annotated[str, Field(pattern=ALLOWANCE_PATTERN, max_length=256)]


class Artifact(ApiModel):
    """A model by address."""

    uri: StorageUri
    """Where model.tar.gz lies, or a single file such as model.onnx."""
    sha256: Sha256 | None = None
    """Checksum; the pods refuse to load anything else. Nothing is verified when unset."""


class ServingContainer(ApiModel):
    """An image that speaks SageMaker's hosting contract: serve, GET /ping and POST /invocations on port 8080."""

    image: Annotated[str, Field(min_length=1, max_length=512)]
    """The image; it is started with the argument serve."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """When the node pulls the image."""
    metrics_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Port of /metrics with sagebrush_invocations_total, which scaling on requests needs."""


class Model(ApiModel):
    """What is served: a trained model, an artifact by address, or an image with the model inside."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!(has(self.trainingJobRef) && has(self.artifact))",
                "give at most one of trainingJobRef and artifact",
            ),
            (
                "has(self.trainingJobRef) || has(self.artifact) || has(self.container)",
                "give a trainingJobRef, an artifact, or a container with the model inside",
            ),
            (
                "!has(self.container) || !has(self.framework) && !has(self.allow)",
                "container: an image of your own honours neither framework nor allow",
            ),
        )
    )

    training_job_ref: LocalObjectReference | None = None
    """TrainingJob of this namespace whose model is served once it is Completed."""
    artifact: Artifact | None = None
    """A model by address."""
    framework: Framework | None = None
    """What the artifact holds, where its files don't tell; nothing else is loaded then."""
    allow: Annotated[list[Allowance], Field(max_length=32, json_schema_extra={"x-kubernetes-list-type": "set"})] = []
    """Beyond reading data: Unpickling runs its maker's code, Requirements installs what it lists, a dotted name trusts a skops type."""
    container: ServingContainer | None = None
    """Image that serves; the built-in server, or a trainingJobRef's own image, when unset."""
    environment: Annotated[list[EnvVar], Field(max_length=100, json_schema_extra=list_map("name"))] = []
    """Extra variables of the serving container."""
    startup_timeout: Duration = "10m"
    """Longest time until /ping answers 200 (ContainerStartupHealthCheckTimeout); not serverless."""
