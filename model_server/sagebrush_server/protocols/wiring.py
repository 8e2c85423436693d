"""Which protocols a server speaks beside the hosting contract."""

from typing import TYPE_CHECKING

from sagebrush_server.protocols.models_by_name import ModelsByName, OneModel
from sagebrush_server.protocols.open_inference.routes import OpenInference
from sagebrush_server.protocols.openapi.routes import OpenApi
from sagebrush_server.protocols.runtime_api.routes import RuntimeApi

if TYPE_CHECKING:
    from sagebrush_server.http.application import Application
    from sagebrush_server.http.settings import ServeSettings


def add_protocols(application: "Application", *, settings: "ServeSettings") -> None:
    """Add every protocol's paths to the application's table."""
    models = _models(application, settings=settings)
    OpenInference(application, models=models).add_routes()
    RuntimeApi(
        application,
        endpoint_name=settings.endpoint_name,
        variant_name=settings.variant_name,
        takes_target_model=settings.multi_model is not None,
    ).add_routes()
    OpenApi(application, endpoint_name=settings.endpoint_name, many=settings.multi_model is not None).add_routes()


def _models(application: "Application", *, settings: "ServeSettings") -> ModelsByName:
    if settings.multi_model is None:
        return OneModel(application, endpoint_name=settings.endpoint_name)
    from sagebrush_server.protocols.multi_model.many_models import ManyModels
    from sagebrush_server.protocols.multi_model.routes import MultiModelApi

    many = ManyModels(application, settings=settings.multi_model, wait_seconds=settings.request_timeout)
    application.invoke = many.invoke
    MultiModelApi(application, models=many).add_routes()
    return many
