"""Recorded traffic through the decision code, in a simulated cluster: what a policy would have cost and been late for."""
