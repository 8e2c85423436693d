"""Which protocols a server speaks beside the hosting contract."""

from typing import TYPE_CHECKING

from sagebrush_server.protocols.models_by_name import OneModel
from sagebrush_server.protocols.open_inference.routes import OpenInference
from sagebrush_server.protocols.runtime_api.routes import RuntimeApi

if TYPE_CHECKING:
    from sagebrush_server.http.application import Application
    from sagebrush_server.http.settings import ServeSettings


def add_protocols(application: "Application", *, settings: "ServeSettings") -> None:
    """Add every protocol's paths to the application's table."""
    models = OneModel(application, endpoint_name=settings.endpoint_name)
    OpenInference(application, models=models).add_routes()
    RuntimeApi(
        application,
        invoke=application.invocations,
        endpoint_name=settings.endpoint_name,
        variant_name=settings.variant_name,
        takes_target_model=False,
    ).add_routes()
