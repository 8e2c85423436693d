"""What runs inside Sagebrush pods: serve, train, fetch and upload."""

__version__ = "0.1.0"
