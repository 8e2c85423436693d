"""What a revision of an endpoint runs: its model, its images, its children. Pure."""

from sagebrush.api.model_endpoint import ModelEndpointSpec, ModelEndpointStatus, ServedModel
from sagebrush.core import naming
from sagebrush.core.defaults import Defaults
from sagebrush.core.model_source import ResolvedModel
from sagebrush.core.plan import Action, Apply
from sagebrush.core.render import deployment as render
from sagebrush.core.resource import Manifest, Meta, contains, dig


def previous_model(spec: ModelEndpointSpec, status: ModelEndpointStatus) -> ResolvedModel | None:
    """The model that the revision in status serves, if all else in the spec is still what that revision was made from."""
    served = status.model
    if served is None:
        return None
    for image in (None, served.image):
        if render.revision_of(spec, uri=served.uri, sha256=served.sha256, image=image) == status.revision:
            return ResolvedModel(served.uri, served.sha256, image)
    return None


def serving_of(
    spec: ModelEndpointSpec,
    model: ResolvedModel,
    status: ModelEndpointStatus,
    *,
    deployment: Manifest | None,
    defaults: Defaults,
) -> tuple[render.Serving, str]:
    """
    What the replicas run, with the images that a running revision has been given before: status pins them, so that an
    image changed by hand is no pin; where status is lost, the Deployment tells.
    """
    revision = render.revision_of(spec, uri=model.uri, sha256=model.sha256, image=model.image)
    template = _running_template(deployment, revision)
    built_in = model.image is None
    container = spec.model.container
    image = model.image or defaults.server_image
    fetch_image = defaults.server_image if model.uri else None
    if status.model and status.revision == revision:
        image, fetch_image = status.model.image, status.model.fetch_image
    elif template:
        image = template["spec"]["containers"][0]["image"]
        fetchers = template["spec"].get("initContainers", [])
        fetch_image = fetchers[0]["image"] if fetchers else None
    serving = render.Serving(
        uri=model.uri,
        sha256=model.sha256,
        image=image,
        built_in=built_in,
        fetch_image=fetch_image,
        pull_policy=defaults.pull_policy if built_in else model.pull_policy,
        fetch_pull_policy=defaults.pull_policy,
        metrics_port=render.METRICS_PORT if built_in else (container.metrics_port if container else None),
    )
    return serving, revision


def served_model(spec: ModelEndpointSpec, model: ResolvedModel, serving: render.Serving) -> ServedModel:
    """What status says of it."""
    reference = spec.model.training_job_ref
    return ServedModel(
        uri=model.uri,
        sha256=model.sha256,
        training_job=reference.name if reference else None,
        image=serving.image,
        fetch_image=serving.fetch_image,
    )


def _running_template(deployment: Manifest | None, revision: str) -> Manifest | None:
    if dig(deployment, "metadata", "annotations", naming.REVISION) != revision:
        return None
    template: Manifest | None = dig(deployment, "spec", "template")
    return template


def child_actions(
    meta: Meta,
    spec: ModelEndpointSpec,
    serving: render.Serving,
    *,
    deployment: Manifest | None,
    service: Manifest | None,
    revision: str,
    replicas: int,
    defaults: Defaults,
    keep: bool,
) -> tuple[Action, ...]:
    """What differs from what is there. *keep*: the running template stays as it is, whoever rendered it."""
    template = _running_template(deployment, revision)
    renderer = dig(deployment, "metadata", "annotations", render.RENDERED_BY, default=defaults.version)
    by_another = template is not None and renderer != defaults.version
    wanted_deployment = render.render(
        meta,
        spec,
        serving,
        revision=revision,
        replicas=replicas,
        # An upgrade of the operator restarts no model: what another version rendered stays until the revision changes.
        rendered_by=renderer if by_another else defaults.version,
        keep_template=template if by_another or keep else None,
    )
    wanted = ((service, render.render_service(meta, spec)), (deployment, wanted_deployment))
    return tuple(Apply(manifest) for actual, manifest in wanted if actual is None or not contains(actual, manifest))
