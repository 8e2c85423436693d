"""The two ways in which a training run can fail, told apart by who can mend them."""


class ClientError(Exception):
    """What the user can mend: a hyperparameter, the data, the shape of the job. Ends `train` with exit code 2."""


class AlgorithmError(Exception):
    """What the user can't mend from the manifest or the data. Ends `train` with exit code 1."""
