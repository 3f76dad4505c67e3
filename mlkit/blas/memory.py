"""Memory that was freed, given back to the system."""

import ctypes
from functools import lru_cache
from typing import Any


def trim() -> None:
    """Give back what the C library keeps of freed memory, where it can be asked to: glibc's malloc_trim."""
    function = _malloc_trim()
    if function is not None:
        function(0)


@lru_cache(1)
def _malloc_trim() -> Any:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):
        return None
