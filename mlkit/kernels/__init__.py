"""Numeric calls that are run now and logged when a plan is being captured; their memory; NumPy's calls in that form."""

from . import call as _call
from .call import (
    KERNELS,
    Bound,
    Kernel,
    Observer,
    Value,
    ask,
    bind,
    binding,
    call,
    counting,
    empty,
    flops,
    is_product,
    keep,
    kernel,
    lasting,
    moved,
    named,
    observing,
    row,
    row_starts,
    run,
    scalar,
    unobserved,
)
from .memory import Array, Regions, address, span
from .numeric import (
    Axes,
    absolute,
    add,
    add_at,
    copy,
    copysign,
    divide,
    equal,
    exp,
    fill,
    flat_index,
    greater,
    greater_equal,
    less,
    log,
    log1p,
    logical_and,
    max,
    maximum,
    min,
    minimum,
    multiply,
    negative,
    power,
    reciprocal,
    sign,
    sqrt,
    square,
    subtract,
    sum,
    take,
    tanh,
)


def generation() -> int:
    """How often lasting memory was moved: a plan captured before the latest move is stale."""
    return _call.generation
