"""What is served: shared by an endpoint and its variants."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from sagebrush.api.meta import ApiModel, Duration, EnvVar, LocalObjectReference, Sha256, StorageUri, list_map, rules


class Artifact(ApiModel):
    """A packed model by address."""

    uri: StorageUri
    """Where model.tar.gz lies."""
    sha256: Sha256 | None = None
    """Its checksum; the pods refuse to load anything else. Unset: whatever lies there is taken, and not verified."""


class ServingContainer(ApiModel):
    """An image that speaks SageMaker's hosting contract: serve, GET /ping and POST /invocations on port 8080."""

    image: Annotated[str, Field(min_length=1, max_length=512)]
    """The image; it is started with the argument serve."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """When the node pulls the image."""
    metrics_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """
    Port that serves /metrics with the counter sagebrush_invocations_total. Needed for scaling on requests with an image
    of your own; the built-in server has it.
    """


class Model(ApiModel):
    """What is served: a trained model, an artifact by address, or an image that has the model inside."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!(has(self.trainingJobRef) && has(self.artifact))",
                "give at most one of trainingJobRef and artifact",
            ),
            (
                "has(self.trainingJobRef) || has(self.artifact) || has(self.container)",
                "give a trainingJobRef, an artifact, or a container whose image has the model inside",
            ),
        )
    )

    training_job_ref: LocalObjectReference | None = None
    """TrainingJob of this namespace whose model is served once it is Completed."""
    artifact: Artifact | None = None
    """A packed model by address."""
    container: ServingContainer | None = None
    """Image that serves; the built-in model server, or a trainingJobRef's own image, when unset."""
    environment: Annotated[list[EnvVar], Field(max_length=100, json_schema_extra=list_map("name"))] = []
    """Extra environment variables of the serving container."""
    startup_timeout: Duration = "10m"
    """Longest time a replica may take until /ping answers 200 (SageMaker's ContainerStartupHealthCheckTimeout); not serverless."""
