"""`sagebrush capacity-test`: how many requests per second one replica answers within a latency bound (docs/capacity.md)."""
