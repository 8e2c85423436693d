"""The serving module of the scikit-learn container, on the parts of sagemaker-containers: decode, predict, encode."""

import importlib
import os
import sys

import numpy as np
import sagemaker_compatibility  # noqa: F401 – before sagemaker-containers
from sagemaker_containers.beta.framework import content_types, encoders, transformer, worker

_MODEL = os.path.join(os.environ["SAGEMAKER_BASE_DIR"], "model")


def _input_fn(input_data, content_type):
    array = encoders.decode(input_data, content_type)
    return array.astype(np.float32) if content_type in content_types.UTF8_TYPES else array


def _output_fn(prediction, accept):
    return worker.Response(encoders.encode(prediction, accept), mimetype=accept)


def _make():
    sys.path.insert(0, os.path.join(_MODEL, "code"))
    script = importlib.import_module("inference")
    functions = transformer.Transformer(
        model_fn=script.model_fn,
        input_fn=getattr(script, "input_fn", _input_fn),
        predict_fn=script.predict_fn,
        output_fn=getattr(script, "output_fn", _output_fn),
    )
    functions.initialize()
    return worker.Worker(transform_fn=functions.transform, module_name="inference")


_app = None


def main(environ, start_response):
    """The WSGI application; the model is loaded by the first request, as in the container."""
    global _app  # noqa: PLW0603 – one application for the process
    if _app is None:
        _app = _make()
    return _app(environ, start_response)
