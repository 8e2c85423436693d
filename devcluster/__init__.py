"""A real single-node Kubernetes on a bare Linux machine, for `make demo` and for the tests that need real pods.

Nothing here is imported by the operator or by the model server. `python -m devcluster --help` lists the commands;
`devcluster.controlplane.ControlPlane` is the piece that integration tests use on its own.
"""
