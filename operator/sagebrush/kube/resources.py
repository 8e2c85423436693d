"""The kinds that the operator touches, and where the API server keeps them."""

from dataclasses import dataclass

from sagebrush.api.meta import API_VERSION


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind: its API version and plural."""

    api_version: str
    kind: str
    plural: str

    @property
    def group(self) -> str:
        """API group; empty for the core group."""
        return self.api_version.rpartition("/")[0]

    def path(self, namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
        """Path of the collection, of an object, or of one of its subresources."""
        parts = ["/apis" if self.group else "/api", self.api_version]
        if namespace:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        parts += [part for part in (name, subresource) if part]
        return "/".join(parts)


TRAINING_JOBS = Resource(API_VERSION, "TrainingJob", "trainingjobs")
MODEL_ENDPOINTS = Resource(API_VERSION, "ModelEndpoint", "modelendpoints")
JOBS = Resource("batch/v1", "Job", "jobs")
DEPLOYMENTS = Resource("apps/v1", "Deployment", "deployments")
SERVICES = Resource("v1", "Service", "services")
PODS = Resource("v1", "Pod", "pods")
ENDPOINT_SLICES = Resource("discovery.k8s.io/v1", "EndpointSlice", "endpointslices")
EVENTS = Resource("events.k8s.io/v1", "Event", "events")
LEASES = Resource("coordination.k8s.io/v1", "Lease", "leases")
NAMESPACES = Resource("v1", "Namespace", "namespaces")

OWN = (TRAINING_JOBS, MODEL_ENDPOINTS)
CHILDREN = (JOBS, DEPLOYMENTS, SERVICES, ENDPOINT_SLICES, PODS)
BY_KIND = {resource.kind: resource for resource in (*OWN, *CHILDREN, EVENTS, LEASES)}
