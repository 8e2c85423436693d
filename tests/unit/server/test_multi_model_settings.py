"""What the environment says about many models."""

import pytest

from sagebrush_server.http.settings import ServeSettings
from sagebrush_server.settings import SettingError


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"SAGEMAKER_MULTI_MODEL": "yes"}, "SAGEMAKER_MULTI_MODEL='yes'"),
        ({"SAGEMAKER_MULTI_MODEL": "true", "SAGEMAKER_MODEL_SERVER_WORKERS": "2"}, "SAGEMAKER_MODEL_SERVER_WORKERS"),
        ({"SAGEMAKER_MULTI_MODEL": "true", "SAGEBRUSH_MODEL_CACHE_MB": "-1"}, "SAGEBRUSH_MODEL_CACHE_MB"),
        ({"SAGEMAKER_MULTI_MODEL": "true", "SAGEBRUSH_MODEL_CACHE_COUNT": "x"}, "SAGEBRUSH_MODEL_CACHE_COUNT"),
    ],
)
def test_wrong_setting_must_be_refused_by_name(environment, said):
    """What can't be honoured ends the start, with the variable's name."""
    with pytest.raises(SettingError, match=said):
        ServeSettings.from_environment(environment)


def test_settings_must_be_read():
    """Folder and bounds come from the environment; without SAGEMAKER_MULTI_MODEL there are none."""
    serve = ServeSettings.from_environment(
        {
            "SAGEMAKER_MULTI_MODEL": "true",
            "SAGEMAKER_BASE_DIR": "/base",
            "SAGEBRUSH_MODEL_CACHE_MB": "1.5",
            "SAGEBRUSH_MODEL_CACHE_COUNT": "3",
        }
    )
    settings = serve.multi_model
    assert settings is not None
    assert serve.workers == 1
    assert str(settings.folder) == "/base/models"
    assert (settings.limits.bytes, settings.limits.count) == (3 * 2**19, 3)
    assert ServeSettings.from_environment({}).multi_model is None
