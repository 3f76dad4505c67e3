"""The library that the environment names."""

from typing import Any

from mlkit import blas
from mlkit.errors import MlkitError


def required(*_: Any) -> None:
    """Absent or unusable: n/a in asv's tables, not an error."""
    try:
        blas.current()
    except MlkitError as error:
        raise NotImplementedError(str(error)) from error
