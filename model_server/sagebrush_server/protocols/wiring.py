"""Which protocols a server speaks beside the hosting contract."""

from typing import TYPE_CHECKING

from sagebrush_server.protocols.models_by_name import OneModel
from sagebrush_server.protocols.open_inference.routes import OpenInference

if TYPE_CHECKING:
    from sagebrush_server.http.application import Application
    from sagebrush_server.http.settings import ServeSettings


def add_protocols(application: "Application", *, settings: "ServeSettings") -> None:
    """Add every protocol's paths to the application's table."""
    models = OneModel(application, endpoint_name=settings.endpoint_name)
    OpenInference(application, models=models).add_routes()
