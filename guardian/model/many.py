"""What a great number of processes costs at a restore, beside their own memory (measured, docs/many.md).

CRIU knows all processes before it makes the first, and each that it makes is a copy of it: both grow with the square.
"""

_SECONDS, _SECONDS_OF_A_PAIR = 0.004, 6e-6
_BYTES_OF_A_PAIR = 1000
_GIB = 1 << 30
_FEW = 1000
"""Up to here it is not the number that matters."""


def seconds(processes: int) -> float:
    """Seconds of a CPU that CRIU takes for so many processes."""
    return processes * _SECONDS + processes**2 * _SECONDS_OF_A_PAIR


def memory(processes: int) -> int:
    """Bytes that CRIU takes for so many processes until they run."""
    return processes**2 * _BYTES_OF_A_PAIR


def without_memory(processes: int, available: int) -> str:
    """Why a restore of so many processes would run out of the host's memory; empty where it would not."""
    wanted = memory(processes)
    if processes < _FEW or wanted <= available:
        return ""
    return (
        f"the restore of {processes} processes takes CRIU about {wanted / _GIB:.1f} GiB of memory, "
        f"and {available / _GIB:.1f} GiB are free"
    )
