"""What a user of SageMaker's scikit-learn container writes at least: how the model is loaded and what it is asked."""

import os

import joblib
import numpy as np


def model_fn(model_dir):
    """Load the model."""
    return joblib.load(os.path.join(model_dir, "model.joblib"))


def predict_fn(input_data, model):
    """Return the probability of class 1; the container gives a single CSV row as a vector."""
    return model.predict_proba(np.atleast_2d(input_data))[:, 1]
