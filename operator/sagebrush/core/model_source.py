"""Which model a ModelEndpoint serves, or what it waits for. Pure."""

from dataclasses import dataclass

from sagebrush.api.model import Model
from sagebrush.api.model_endpoint import ModelEndpointSpec
from sagebrush.api.training_job import TrainingJobSpec, TrainingJobStatus, TrainingPhase
from sagebrush.core.conditions import READY, Outlook, Reason, find


@dataclass(frozen=True, slots=True)
class SourceJob:
    """The TrainingJob that an endpoint refers to."""

    spec: TrainingJobSpec
    status: TrainingJobStatus


@dataclass(frozen=True, slots=True)
class Finding:
    """Where the endpoint stands, and what to say about it."""

    reason: Reason
    message: str
    outlook: Outlook = Outlook.PROGRESSING


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """A model that can be served: where it is and what serves it (None: the built-in server)."""

    uri: str | None
    sha256: str | None
    image: str | None
    pull_policy: str = "IfNotPresent"


def loading_environment(model: Model) -> dict[str, str]:
    """What the built-in server is told about loading the model (docs/contract.md); empty where the spec says nothing."""
    values = {"SAGEBRUSH_MODEL_FRAMEWORK": model.framework or "", "SAGEBRUSH_MODEL_ALLOW": ",".join(model.allow)}
    return {name: value for name, value in values.items() if value}


def own_image_finding(model: Model, *, image: str) -> str | None:
    """Why an image that isn't the built-in server's can't serve the model; None where it can."""
    if not loading_environment(model):
        return None
    fields = " and ".join(name for name in ("framework", "allow") if getattr(model, name))
    return f"spec.model: {fields} are honoured by the built-in server, and {image} is another; remove them"


def resolve_model(spec: ModelEndpointSpec, job: SourceJob | None) -> ResolvedModel | Finding:
    """The model to serve, or what it still waits for."""
    return resolve(spec.model, job)


def resolve(model: Model, job: SourceJob | None) -> ResolvedModel | Finding:
    """The same for the model of one variant."""
    found = _resolve(model, job)
    if isinstance(found, ResolvedModel) and found.image is not None:
        refused = own_image_finding(model, image=found.image)
        return Finding(Reason.INVALID_SPEC, refused, Outlook.STALLED) if refused else found
    return found


def _resolve(model: Model, job: SourceJob | None) -> ResolvedModel | Finding:
    container = model.container
    image = container.image if container else None
    pull_policy = container.image_pull_policy if container else "IfNotPresent"
    if model.training_job_ref is None:
        artifact = model.artifact
        return ResolvedModel(
            artifact.uri if artifact else None, artifact.sha256 if artifact else None, image, pull_policy
        )
    name = model.training_job_ref.name
    if job is None:
        return Finding(
            Reason.TRAINING_JOB_NOT_FOUND, f"waiting for TrainingJob {name}, which does not exist in this namespace yet"
        )
    phase = job.status.phase
    if phase is not TrainingPhase.COMPLETED:
        if phase is not None and phase.is_final:
            said = find(job.status.conditions, READY)
            text = f"TrainingJob {name} has {phase.lower()}: {said.message if said else ''} Mend it, delete it and apply it again"
            return Finding(Reason.TRAINING_JOB_FAILED, text, Outlook.STALLED)
        return Finding(Reason.WAITING_FOR_TRAINING_JOB, f"waiting for TrainingJob {name}: {phase or 'not started'}")
    if job.status.model_artifact is None:
        text = f"TrainingJob {name} left no model; its algorithm must write to /opt/ml/model"
        return Finding(Reason.NO_MODEL_ARTIFACT, text, Outlook.STALLED)
    if container is None and job.spec.algorithm.image:
        image, pull_policy = job.spec.algorithm.image, job.spec.algorithm.image_pull_policy
    return ResolvedModel(job.status.model_artifact.uri, job.status.model_artifact.sha256, image, pull_policy)
