"""Spec to manifest: complete, deterministic, without defaults that the API server would fill in differently."""
