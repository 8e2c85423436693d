"""Numbers that processes share must stay within their block of memory."""

import pytest

from sagebrush_server.cells import CODE_CELLS, ByCode, Cell, Cells, Histogram


def block(number):
    return memoryview(bytearray(number * 8)).cast("d")


class Pair(Cells):
    first, second, beyond = Cell(0), Cell(1), Cell(2)


def test_cells_must_be_the_memory_that_they_were_given():
    """Whoever has the block sees each number, and nothing beyond it can be touched."""
    memory = block(2)
    pair, same = Pair(memory), Pair(memory)
    pair.second += 2.5
    assert (memory.tolist(), same.second) == ([0.0, 2.5], 2.5)
    with pytest.raises(IndexError, match="no cell 2"):
        pair.beyond = 1
    with pytest.raises(IndexError, match="no cell 2"):
        _ = pair.beyond
    with pytest.raises(ValueError, match="at least 0"):
        Cell(-1)


def test_histogram_must_count_by_upper_bounds():
    """A bound belongs to its bucket; what is above all of them goes to the last."""
    histogram = Histogram(block(5), bounds=(1, 2, 5))
    for value in (0, 1, 1.5, 5, 6):
        histogram.observe(value)
    histogram.observe(2, times=3)
    assert (histogram.buckets, histogram.sum) == ([2, 4, 1, 1], 19.5)
    with pytest.raises(ValueError, match="3 bounds take 5 cells, not 4"):
        Histogram(block(4), bounds=(1, 2, 5))


def test_codes_must_be_status_codes():
    """What is none is refused, and counted nowhere."""
    codes = ByCode(block(CODE_CELLS))
    codes.add(100)
    codes.add(599, times=2)
    assert (list(codes.items()), codes[599]) == ([(100, 1), (599, 2)], 2)
    for wrong in (99, 600, -1):
        with pytest.raises(IndexError, match="no status code"):
            codes.add(wrong)
    with pytest.raises(ValueError, match=f"take {CODE_CELLS} cells"):
        ByCode(block(CODE_CELLS - 1))
