"""One family of exceptions; each message says what was asked, what was found and what to do."""


class MlkitError(Exception):
    """Any error that mlkit raises on purpose."""


class ShapeError(MlkitError, ValueError):
    """Arrays whose shapes do not fit together."""


class DtypeError(MlkitError, TypeError):
    """An array of a dtype that the operation does not take, or dtypes that differ."""


class ArgumentError(MlkitError, ValueError):
    """An argument outside the values that are allowed."""


class BlasError(MlkitError, RuntimeError):
    """A BLAS library that cannot be used as asked."""


class LibraryNotFound(BlasError, LookupError):
    """No BLAS library of that name or path."""


class ThreadControlError(BlasError):
    """A thread count that the library cannot be given."""


class CaptureError(MlkitError, RuntimeError):
    """A step did something that a plan cannot repeat."""


class CaptureWarning(UserWarning):
    """A captured step runs eagerly instead, for the reason given."""


class PlanError(MlkitError, ValueError):
    """A plan, or a file with a plan, that cannot be used."""


class NonFiniteError(MlkitError, FloatingPointError):
    """A NaN or an infinity where a number should be."""


class DataError(MlkitError, ValueError):
    """A data set that is missing, truncated or not what its name says."""
