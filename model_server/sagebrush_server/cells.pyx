# cython: boundscheck=False, wraparound=False
"""Numbers in a block of memory, compiled; see cells.pyi for what everything is."""

from array import array

cdef int FIRST_CODE = 100
cdef int CODES = 500
CODE_CELLS = CODES


cdef class Cells:
    cdef readonly object cells
    cdef double[::1] _view

    def __init__(self, cells not None):
        self.cells = cells
        self._view = cells


cdef class Cell:
    cdef readonly Py_ssize_t place

    def __init__(self, Py_ssize_t place):
        if place < 0:
            raise ValueError("a place is at least 0")
        self.place = place

    def __get__(self, Cells block, owner):
        if block is None:
            return self
        self._check(block)
        return block._view[self.place]

    def __set__(self, Cells block not None, double value):
        self._check(block)
        block._view[self.place] = value

    cdef int _check(self, Cells block) except -1:
        if self.place >= block._view.shape[0]:
            raise IndexError(f"there is no cell {self.place}")
        return 0


cdef class Histogram:
    cdef readonly object bounds
    cdef double[::1] _cells, _bounds

    def __init__(self, cells not None, *, bounds):
        if len(cells) != len(bounds) + 2:
            raise ValueError(f"{len(bounds)} bounds take {len(bounds) + 2} cells, not {len(cells)}")
        self.bounds = bounds
        self._cells = cells
        self._bounds = array("d", bounds)

    def observe(self, double value, *, double times=1):
        cdef Py_ssize_t place = 0
        while place < self._bounds.shape[0] and self._bounds[place] < value:
            place += 1
        self._cells[0] += value * times
        self._cells[1 + place] += times

    @property
    def sum(self):
        return self._cells[0]

    @property
    def buckets(self):
        return [self._cells[place] for place in range(1, self._cells.shape[0])]


cdef class ByCode:
    cdef double[::1] _cells

    def __init__(self, cells not None):
        if len(cells) != CODES:
            raise ValueError(f"codes take {CODES} cells, not {len(cells)}")
        self._cells = cells

    def __getitem__(self, int code):
        return self._cells[self._place(code)]

    def add(self, int code, *, double times=1):
        self._cells[self._place(code)] += times

    def items(self):
        numbers = ((FIRST_CODE + place, self._cells[place]) for place in range(CODES))
        return (pair for pair in numbers if pair[1])

    cdef Py_ssize_t _place(self, int code) except -1:
        if not FIRST_CODE <= code < FIRST_CODE + CODES:
            raise IndexError(f"{code} is no status code")
        return code - FIRST_CODE
