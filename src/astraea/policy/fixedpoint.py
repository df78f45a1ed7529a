"""Logarithms and powers of two in integers, so that a prediction is the same on every machine.

A *log value* is ``log2(x)`` in units of ``1 / LOG_ONE`` (2^-16). The table holds ``log2(1 + i/1024)``, made once by
repeated squaring in exact integer arithmetic; between entries the value is interpolated (error below 2^-19).
"""

from __future__ import annotations

from bisect import bisect_right

__all__ = ["LOG_ONE", "exp2", "half_octave", "log2"]

LOG_ONE = 1 << 16
_STEPS = 1_024
_STEP_BITS = 10


def _log2_of_mantissa(mantissa: int, one_bits: int) -> int:
    """Return ``log2(mantissa / 2**one_bits)`` for a mantissa in [1, 2), bit by bit."""
    result = 0
    for bit in range(17):
        mantissa = (mantissa * mantissa) >> one_bits
        if mantissa >= 2 << one_bits:
            mantissa >>= 1
            result |= 1 << (16 - bit)
    return (result + 1) >> 1


_TABLE = [_log2_of_mantissa(((_STEPS + i) << 62) // _STEPS, 62) for i in range(_STEPS)] + [LOG_ONE]


def log2(value: int) -> int:
    """Return the log value of a positive integer."""
    octave = value.bit_length() - 1
    scaled = (value << 20) >> octave
    index = (scaled >> 10) - _STEPS
    low = _TABLE[index]
    return (octave << 16) + low + (((_TABLE[index + 1] - low) * (scaled & 1023)) >> _STEP_BITS)


def exp2(log_value: int) -> int:
    """Return 2 to a non-negative log value, rounded down to an integer."""
    octave, fraction = divmod(log_value, LOG_ONE)
    index = bisect_right(_TABLE, fraction) - 1
    low = _TABLE[index]
    within = ((fraction - low) << _STEP_BITS) // (_TABLE[index + 1] - low)
    mantissa = ((_STEPS + index) << _STEP_BITS) + within
    return (mantissa << octave) >> 20


def half_octave(value: int) -> int:
    """Return ``floor(2 * log2(value))`` of a positive integer, exactly: the bucket of sizes and predictions."""
    double = value * value
    return double.bit_length() - 1
