# cython: boundscheck=False, wraparound=False, cdivision=True
# distutils: language = c++
"""Rows of numbers in text, read by compiled code; see number_rows.pyi for what it promises."""

from cpython.buffer cimport PyBUF_WRITABLE, PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.math cimport NAN, isnan
from libc.stdint cimport uint64_t
from libc.string cimport memchr, memcmp

import numpy

cdef extern from "<string.h>" nogil:
    void* memmem(const void* text, size_t size, const void* part, size_t part_size)

cdef extern from "<charconv>" namespace "std" nogil:
    cppclass from_chars_result:
        const char* ptr
    from_chars_result from_chars(const char* first, const char* last, double& value)

# From so many bytes on, other threads may go on meanwhile.
cdef Py_ssize_t LARGE = 64 * 1024
cdef int MOST_DIGITS = 19
cdef uint64_t MOST_EXACT = <uint64_t>1 << 53
cdef int MOST_POWER = 22
cdef double[23] POWERS = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
                          1e17, 1e18, 1e19, 1e20, 1e21, 1e22]

cdef struct Form:
    const char* joint
    Py_ssize_t joint_size
    Py_ssize_t width
    bint white_return
    bint white_newline
    bint lines


cdef inline bint _is_digit(char letter) noexcept nogil:
    return <unsigned char>(letter - c'0') <= 9


cdef inline const char* _read_digits(const char* at, const char* end, uint64_t* digits) noexcept nogil:
    """Read on a whole number; what follows its digits. Beyond MOST_DIGITS `digits` means nothing."""
    while at < end and _is_digit(at[0]):
        digits[0] = digits[0] * 10 + <uint64_t>(at[0] - c'0')
        at += 1
    return at


cdef const char* _read_power(const char* at, const char* end, int* power) noexcept nogil:
    """Read what stands behind an `e`, and add it to `power`; what follows it, NULL where there is no number."""
    cdef bint negative = at < end and at[0] == c'-'
    cdef const char* first
    cdef int given = 0
    if at < end and (at[0] == c'-' or at[0] == c'+'):
        at += 1
    first = at
    while at < end and _is_digit(at[0]):
        # More than any power that is of use here; what is larger only has to stay so.
        if given < 10_000:
            given = given * 10 + (at[0] - c'0')
        at += 1
    power[0] += -given if negative else given
    if at == first:
        return NULL
    return at


cdef const char* _read_number(const char* at, const char* end, double* value) noexcept nogil:
    """Read a number as JSON spells it; what follows it, NULL in case of doubt."""
    cdef const char* start = at
    cdef const char* part
    cdef bint negative = at < end and at[0] == c'-', whole = True
    cdef uint64_t digits = 0
    cdef Py_ssize_t letters
    cdef int power = 0
    at += negative
    part = at
    at = _read_digits(at, end, &digits)
    letters = at - part
    if letters == 0 or (letters > 1 and part[0] == c'0'):
        return NULL
    if at < end and at[0] == c'.':
        whole = False
        part = at + 1
        at = _read_digits(part, end, &digits)
        if at == part:
            return NULL
        letters += at - part
        if letters <= MOST_DIGITS:
            power = -<int>(at - part)
    if at < end and (at[0] == c'e' or at[0] == c'E'):
        whole = False
        at = _read_power(at + 1, end, &power)
        if at == NULL:
            return NULL
    if negative and whole and letters == 1 and digits == 0:
        # JSON's -0 is a whole number, which has no sign.
        return NULL
    if letters > MOST_DIGITS or digits > MOST_EXACT or not -MOST_POWER <= power <= MOST_POWER:
        value[0] = NAN
        if from_chars(start, at, value[0]).ptr != at or isnan(value[0]):
            return NULL
        return at
    # Digits and power of ten are exact, so that one operation rounds once, as it should (Clinger, 1990).
    value[0] = <double>digits / POWERS[-power] if power < 0 else <double>digits * POWERS[power]
    if negative:
        value[0] = -value[0]
    return at


cdef inline const char* _skip(const char* at, const char* end, const Form* form) noexcept nogil:
    while at < end and at[0] <= c' ' and (
        at[0] == c' '
        or at[0] == c'\t'
        or (at[0] == c'\r' and form.white_return)
        or (at[0] == c'\n' and form.white_newline)
    ):
        at += 1
    return at


cdef bint _read_rows(
    const char* at, const char* end, Py_ssize_t rows, const Form* form, double* values
) noexcept nogil:
    """Read all of a text into `values`; say whether it is beyond doubt."""
    cdef Py_ssize_t row, column
    for row in range(rows):
        for column in range(form.width):
            # Most values of most bodies have one digit.
            if end - at > 1 and at[1] == c',' and _is_digit(at[0]) and column < form.width - 1:
                values[0] = <double>(at[0] - c'0')
                values += 1
                at += 2
                continue
            at = _skip(at, end, form)
            at = _read_number(at, end, values)
            if at == NULL:
                return False
            values += 1
            at = _skip(at, end, form)
            if column < form.width - 1:
                if at == end or at[0] != c',':
                    return False
                at += 1
        if row < rows - 1:
            if form.lines and at < end and at[0] == c'\r':
                at += 1
            if end - at < form.joint_size or memcmp(at, form.joint, form.joint_size):
                return False
            at += form.joint_size
    return at == end


cdef Py_ssize_t _count(const char* at, const char* end, const Form* form) noexcept nogil:
    """Count the joints in a text."""
    cdef Py_ssize_t number = 0
    while True:
        if form.joint_size == 1:
            at = <const char*>memchr(at, form.joint[0], end - at)
        else:
            at = <const char*>memmem(at, end - at, form.joint, form.joint_size)
        if at == NULL:
            return number
        number += 1
        at += form.joint_size


cdef bint _strip(bytes body, bytes before, bytes after, const Form* form, const char** start, const char** end):
    """Find the text of the rows in a body; say whether what is around it is as given."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(body)
    cdef Py_ssize_t first = PyBytes_GET_SIZE(before), last = PyBytes_GET_SIZE(after)
    start[0] = PyBytes_AS_STRING(body)
    if form.lines and size > 0 and start[0][size - 1] == c'\n':
        size -= 1
        if size > 0 and start[0][size - 1] == c'\r':
            size -= 1
    end[0] = start[0] + size
    if size < first + last or memcmp(start[0], PyBytes_AS_STRING(before), first):
        return False
    start[0] += first
    end[0] -= last
    return memcmp(end[0], PyBytes_AS_STRING(after), last) == 0


def read_rows(
    list bodies, *, Py_ssize_t width, bytes joint, bytes before=b"", bytes after=b"", bytes white=b" \t", bint lines=False
):
    cdef Form form
    cdef const char* start
    cdef const char* end
    cdef Py_ssize_t total = 0, rows, place
    cdef list counts = []
    cdef Py_buffer memory
    cdef double* values
    cdef bint sure = True
    if width < 1 or not joint:
        raise ValueError("a row has at least one value, and a joint at least one byte")
    form.joint, form.joint_size, form.width, form.lines = PyBytes_AS_STRING(joint), len(joint), width, lines
    form.white_return, form.white_newline = b"\r" in white, b"\n" in white
    for body in bodies:
        if not _strip(body, before, after, &form, &start, &end):
            return None
        rows = _count(start, end, &form) + 1
        # Each value takes at least a byte, and another one to end it: no text asks for more memory than it is worth.
        if rows > (end - start + 1) // 2 // width:
            return None
        counts.append(rows)
        total += rows
    array = numpy.empty((total, width))
    PyObject_GetBuffer(array, &memory, PyBUF_WRITABLE | PyBUF_SIMPLE)
    try:
        values = <double*>memory.buf
        for place in range(len(counts)):
            _strip(bodies[place], before, after, &form, &start, &end)
            rows = counts[place]
            if end - start < LARGE:
                sure = _read_rows(start, end, rows, &form, values)
            else:
                with nogil:
                    sure = _read_rows(start, end, rows, &form, values)
            if not sure:
                break
            values += rows * width
    finally:
        PyBuffer_Release(&memory)
    return (array, counts) if sure else None
