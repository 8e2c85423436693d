"""What trainers ask of their channels: blocks until SIGTERM, samples, rows of all hosts."""

import numpy as np

from sagebrush_server.algorithms.training_rows import gather, in_step, sample_together, until_stopped
from sagebrush_server.training.blocks import open_rows
from sagebrush_server.training.collective import Collective
from tests.unit.server.algorithm_jobs import job_of, write_csv


def source_of(folder, rows):
    channel = write_csv(folder, "train", 1 + np.arange(float(rows)).reshape(rows, 1))
    return job_of(folder, [channel]), open_rows(channel, label=False)


def test_a_pass_must_end_when_told(tmp_path):
    """After SIGTERM no further block is given, and the job says that it was cut short; the first one is given always."""
    job, source = source_of(tmp_path, 10)
    given = []
    for block in until_stopped(job, source, rows=3):
        given.append(len(block))
        if len(given) == 2:
            job.stop.set()
    assert given == [3, 3]
    assert job.cut_short.is_set()
    assert [len(block) for block in until_stopped(job, source, rows=3)] == [3]


def test_a_pass_that_was_complete_must_not_count_as_cut_short(tmp_path):
    """SIGTERM during the last block changes nothing: there was no more to learn."""
    job, source = source_of(tmp_path, 6)
    given = []
    for block in until_stopped(job, source, rows=3):
        given.append(len(block))
        if len(given) == 2:
            job.stop.set()
    assert given == [3, 3]
    assert not job.cut_short.is_set()


class TwoHosts(Collective):
    """This host, and another one whose part in each sum is known beforehand."""

    def __init__(self, rank, *, others):
        super().__init__(rank, size=2)
        self.others = list(others)

    def _reduce(self, values, *, operation):
        other = self.others.pop(0)
        return values + other if operation == "SUM" else np.maximum(values, other)


def test_rows_of_all_hosts_must_lie_in_their_order():
    """Host 2's rows follow host 1's, and a host without rows, which doesn't know the width, gets those of the other."""
    mine, others = np.array([[5.0, 6.0]]), np.array([[1.0, 2.0], [3.0, 4.0]])
    table = np.vstack((others, np.zeros((1, 2))))
    found = gather(mine, collective=TwoHosts(1, others=[np.array([2.0, 0.0]), np.array([2.0]), table]))
    np.testing.assert_array_equal(found, [[1, 2], [3, 4], [5, 6]])
    nothing = TwoHosts(0, others=[np.array([0.0, 2.0]), np.array([2.0]), others])
    np.testing.assert_array_equal(gather(np.zeros((0, 0)), collective=nothing), others)


def test_hosts_must_go_on_until_none_has_a_block(tmp_path):
    """A host whose rows are used up gives None in their place, so that sums can still be made together."""
    job, source = source_of(tmp_path, 4)
    blocks = until_stopped(job, source, rows=3)
    collective = TwoHosts(0, others=[np.array([float(more)]) for more in (1, 1, 1, 0)])
    assert [block and len(block) for block in in_step(blocks, collective=collective)] == [3, 1, None]


def test_a_sample_must_be_shared_out_over_the_hosts(tmp_path):
    """5 rows of two hosts: 3 of the first one and 2 of the second, and the number of rows of both."""
    for rank, expected in ((0, 3), (1, 2)):
        job, source = source_of(tmp_path, 9)
        counts = np.array([0.0, 2.0] if rank == 0 else [3.0, 0.0])
        collective = TwoHosts(rank, others=[np.array([11.0]), counts, np.array([1.0]), np.zeros((5, 1))])
        rows, seen = sample_together(job, source, size=5, rows=4, rng=np.random.default_rng(0), collective=collective)
        assert seen == 20
        assert (rows > 0).sum(axis=0).tolist() == [expected]
