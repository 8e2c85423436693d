"""What the spec says, as parameters of AWS' calls: models, endpoint configurations, the endpoint and its updates. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sagebrush.api.meta import Backend, parse_duration
from sagebrush.api.model import Model
from sagebrush.api.model_endpoint import ModelEndpointSpec, ModelEndpointStatus, ServedModel
from sagebrush.api.sagemaker_hosting import DataCapture, Deployment, SageMakerHosting, Serverless
from sagebrush.api.scaling import Scaling
from sagebrush.core.model_source import ResolvedModel, SourceJob, loading_environment, own_image_finding
from sagebrush.core.plan import SpecError
from sagebrush.core.render.deployment import VARIANT
from sagebrush.core.resource import Meta
from sagebrush.core.sagemaker import identity
from sagebrush.core.sagemaker.algorithms import image_uri
from sagebrush.core.sagemaker.calls import Account, Call, Problem, Service
from sagebrush.core.sagemaker.defaults import AwsDefaults, account_of
from sagebrush.core.sagemaker.endpoint_deployment import deployment_config

_STARTUP_SECONDS = (60, 3600)
_DOWNLOAD_SECONDS = (60, 3600)


@dataclass(frozen=True, slots=True)
class WantedVariant:
    """One variant of the spec: the only one, or one of several."""

    name: str
    model: Model
    weight: float
    replicas: int
    instance_type: str | None
    serverless: Serverless | None
    scaling: Scaling | None


@dataclass(frozen=True, slots=True)
class ServedBy:
    """What a variant runs. *mark* stands for the image in the content hash: an operator's newer default is no new revision."""

    uri: str | None
    image: str
    mark: str | None


@dataclass(frozen=True, slots=True)
class Thing:
    """A model to be created."""

    name: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Content:
    """One revision: what an endpoint configuration says, without counts and weights, and the models that it needs."""

    revision: str
    config_name: str
    models: tuple[Thing, ...]
    model_of: Mapping[str, str]
    """Variant → name of its model."""
    variants: tuple[Mapping[str, Any], ...]
    rest: Mapping[str, Any] = field(default_factory=dict)

    @property
    def said(self) -> Mapping[str, Any]:
        """What the revision is the hash of."""
        return {"variants": list(self.variants), **self.rest}


def variants_of(spec: ModelEndpointSpec) -> tuple[WantedVariant, ...]:
    """The variants that the spec asks for."""
    hosting = hosting_of(spec)
    if hosting.variants is None:
        only = WantedVariant(
            VARIANT, spec.model, 1.0, spec.replicas, hosting.instance_type, hosting.serverless, spec.scaling
        )
        return (only,)
    return tuple(
        WantedVariant(
            v.name,
            v.model or spec.model,
            v.weight,
            v.replicas,
            v.instance_type,
            v.serverless,
            Scaling.of_variant(v.scaling),
        )
        for v in hosting.variants
    )


def account_for(meta: Meta, spec: ModelEndpointSpec, status: ModelEndpointStatus, *, defaults: AwsDefaults) -> Account:
    """Where the endpoint is. Raises SpecError where no region is known."""
    return account_of(meta, hosting_of(spec), defaults, arn=status.sage_maker.arn if status.sage_maker else None)


def hosting_of(spec: ModelEndpointSpec) -> SageMakerHosting:
    """``spec.sageMaker``. Raises SpecError where there is none."""
    if spec.sage_maker is None:
        raise SpecError("spec.sageMaker is needed with backend: SageMaker, at least roleArn and instanceType")
    return spec.sage_maker


def served_by(
    model: Model, resolved: ResolvedModel, job: SourceJob | None, *, region: str, defaults: AwsDefaults
) -> ServedBy:
    """Artifact and image of a variant. Raises SpecError where SageMaker can't have one of them."""
    if resolved.uri is not None and not resolved.uri.startswith("s3://"):
        raise SpecError(
            f"spec.model: SageMaker serves artifacts at s3:// only, and this one is at {resolved.uri}; "
            "train with an output at s3://, or give spec.model.artifact"
        )
    if resolved.image is not None:
        return ServedBy(resolved.uri, resolved.image, resolved.image)
    if model.training_job_ref and job and job.spec.backend is Backend.SAGEMAKER and job.spec.algorithm.name:
        algorithm = job.spec.algorithm
        image = image_uri(str(algorithm.name), region=region, version=algorithm.version)
        if refused := own_image_finding(model, image=image):
            raise SpecError(refused)
        # Which version is the newest known is the operator's default, too.
        return ServedBy(resolved.uri, image, image if algorithm.version else image.rpartition(":")[0])
    if defaults.server_image is None:
        raise SpecError(
            "spec.model.container.image: needed, an image in ECR that serves the model; or set the operator's "
            "--sagemaker-server-image to the built-in model server's image in ECR"
        )
    return ServedBy(resolved.uri, defaults.server_image, None)


def content_of(
    meta: Meta, spec: ModelEndpointSpec, serving: Mapping[str, ServedBy], *, defaults: AwsDefaults
) -> Content:
    """The revision that the spec asks for. *serving*: by variant. Raises SpecError for what AWS doesn't take."""
    hosting = hosting_of(spec)
    models: dict[str, Thing] = {}
    variants: list[Mapping[str, Any]] = []
    for variant in sorted(variants_of(spec), key=lambda each: each.name):
        model = model_for(meta, hosting, variant.model, serving[variant.name], defaults=defaults)
        models[model.name] = model
        variants.append(_variant(variant, hosting, model=model.name))
    rest: dict[str, Any] = {}
    if hosting.kms_key_id:
        rest["KmsKeyId"] = hosting.kms_key_id
    if hosting.data_capture:
        rest["DataCaptureConfig"] = _capture(hosting.data_capture)
    content = {"variants": variants, **rest}
    return Content(
        revision=identity.revision_of(content),
        config_name=identity.revision_name(meta, content),
        models=tuple(models.values()),
        model_of={str(variant["VariantName"]): str(variant["ModelName"]) for variant in variants},
        variants=tuple(variants),
        rest=rest,
    )


def model_for(
    meta: Meta, hosting: SageMakerHosting, model: Model, serving: ServedBy, *, defaults: AwsDefaults
) -> Thing:
    """What CreateModel takes for a variant; its name follows from the content."""
    container: dict[str, Any] = {"Image": serving.image}
    if serving.uri:
        container["ModelDataUrl"] = serving.uri
    environment = loading_environment(model) | {variable.name: variable.value for variable in model.environment}
    if environment:
        container["Environment"] = environment
    parameters: dict[str, Any] = {"PrimaryContainer": container, "ExecutionRoleArn": hosting.role_arn}
    if hosting.vpc:
        parameters["VpcConfig"] = {
            "Subnets": hosting.vpc.subnets,
            "SecurityGroupIds": hosting.vpc.security_group_ids,
        }
    if hosting.enable_network_isolation:
        parameters["EnableNetworkIsolation"] = True
    content = {**parameters, "PrimaryContainer": {**container, "Image": serving.mark}}
    name = identity.revision_name(meta, content)
    tags = identity.tags(
        meta, cluster_id=defaults.cluster_id, users=hosting.tags, revision=identity.revision_of(content)
    )
    return Thing(name, {"ModelName": name, **parameters, "Tags": tags})


def _variant(variant: WantedVariant, hosting: SageMakerHosting, *, model: str) -> Mapping[str, Any]:
    out: dict[str, Any] = {"VariantName": variant.name, "ModelName": model}
    if variant.serverless:
        given = variant.serverless
        out["ServerlessConfig"] = {"MemorySizeInMB": given.memory_size_in_mb, "MaxConcurrency": given.max_concurrency}
        if given.provisioned_concurrency is not None:
            out["ServerlessConfig"]["ProvisionedConcurrency"] = given.provisioned_concurrency
        return out
    out["InstanceType"] = variant.instance_type
    out["ContainerStartupHealthCheckTimeoutInSeconds"] = _seconds(
        variant.model.startup_timeout, where="spec.model.startupTimeout", bounds=_STARTUP_SECONDS
    )
    if hosting.volume_size_gi_b is not None:
        out["VolumeSizeInGB"] = hosting.volume_size_gi_b
    if hosting.model_download_timeout is not None:
        out["ModelDataDownloadTimeoutInSeconds"] = _seconds(
            hosting.model_download_timeout, where="spec.sageMaker.modelDownloadTimeout", bounds=_DOWNLOAD_SECONDS
        )
    return out


def _seconds(duration: str, *, where: str, bounds: tuple[int, int]) -> int:
    seconds = int(parse_duration(duration).total_seconds())
    if not bounds[0] <= seconds <= bounds[1]:
        raise SpecError(f"{where}: {duration} is out of what SageMaker takes: {bounds[0]}s to {bounds[1]}s")
    return seconds


def _capture(capture: DataCapture) -> dict[str, Any]:
    modes = ("Input", "Output") if capture.capture == "InputAndOutput" else (capture.capture,)
    out: dict[str, Any] = {
        "EnableCapture": True,
        "InitialSamplingPercentage": capture.sampling_percentage,
        "DestinationS3Uri": capture.destination_uri,
        "CaptureOptions": [{"CaptureMode": mode} for mode in modes],
    }
    if capture.kms_key_id:
        out["KmsKeyId"] = capture.kms_key_id
    types = {"CsvContentTypes": capture.csv_content_types, "JsonContentTypes": capture.json_content_types}
    if any(types.values()):
        out["CaptureContentTypeHeader"] = {name: found for name, found in types.items() if found}
    return out


def served_model(spec: ModelEndpointSpec, serving: Mapping[str, ServedBy]) -> ServedModel:
    """What status says of the first variant's model."""
    first = variants_of(spec)[0]
    reference = first.model.training_job_ref
    found = serving[first.name]
    return ServedModel(uri=found.uri, training_job=reference.name if reference else None, image=found.image)


@dataclass(frozen=True, slots=True)
class Caller:
    """Makes the calls for one endpoint."""

    account: Account
    endpoint: str
    tags: tuple[Mapping[str, str], ...]
    deployment: Deployment | None = None

    def call(self, operation: str, parameters: Mapping[str, Any], *, fine: frozenset[Problem] = frozenset()) -> Call:
        """A call to SageMaker."""
        return Call(self.account, Service.SAGEMAKER, operation, parameters, fine)

    def create_config(
        self, content: Content, *, counts: Mapping[str, int], weights: Mapping[str, float], tags: list[dict[str, str]]
    ) -> Call:
        """The endpoint configuration. *counts* of the variants that have instances."""
        variants = [
            {
                **variant,
                "InitialVariantWeight": weights[variant["VariantName"]],
                **({} if "ServerlessConfig" in variant else {"InitialInstanceCount": counts[variant["VariantName"]]}),
            }
            for variant in content.variants
        ]
        parameters = {"EndpointConfigName": content.config_name, "ProductionVariants": variants, "Tags": tags}
        return self.call("CreateEndpointConfig", {**parameters, **content.rest})

    def create_endpoint(self, config: str) -> Call:
        """The endpoint."""
        parameters = {"EndpointName": self.endpoint, "EndpointConfigName": config, "Tags": list(self.tags)}
        return self.call("CreateEndpoint", parameters)

    def update_endpoint(self, config: str) -> Call:
        """
        Bring another configuration to the endpoint. Counts and weights are kept: they are in force already, and scaling's.
        What data are captured is part of the revision, so it isn't (API reference, UpdateEndpoint).
        """
        parameters: dict[str, Any] = {
            "EndpointName": self.endpoint,
            "EndpointConfigName": config,
            "RetainAllVariantProperties": True,
            "ExcludeRetainedVariantProperties": [{"VariantPropertyType": "DataCaptureConfig"}],
        }
        if self.deployment:
            parameters["DeploymentConfig"] = deployment_config(self.deployment)
        return self.call("UpdateEndpoint", parameters)

    def delete_endpoint(self) -> Call:
        """Remove the endpoint."""
        return self.call("DeleteEndpoint", {"EndpointName": self.endpoint}, fine=frozenset({Problem.ABSENT}))

    def delete_config(self, name: str) -> Call:
        """Remove an endpoint configuration."""
        return self.call("DeleteEndpointConfig", {"EndpointConfigName": name}, fine=frozenset({Problem.ABSENT}))

    def delete_model(self, name: str) -> Call:
        """Remove a model."""
        return self.call("DeleteModel", {"ModelName": name}, fine=frozenset({Problem.ABSENT}))
