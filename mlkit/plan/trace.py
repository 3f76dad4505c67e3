"""A plan on paper: a table for people, JSON for machines."""

import base64
import json
import os
import zlib
from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import kernels as k
from ..errors import PlanError
from ..file import write_whole
from ..kernels import Array
from .capture import Outer, View

if TYPE_CHECKING:
    from .plan import Plan

FORMAT = 1
SAVED_DTYPES = "biufc"  # no objects: a file must not name addresses


def table(plan: "Plan", seconds: Sequence[float] | None = None) -> str:
    """One line for each call: number, kernel, operands, library of a product, operations, time."""
    rows = [("#", "call", "operands", "library", "MFLOP", *(["µs", "GFLOP/s"] if seconds else []))]
    libraries, routines = plan.libraries(), plan.routines()
    for number, (kernel, described) in enumerate(plan.calls):
        work = k.flops(kernel, plan.operands(number))
        is_product = k.is_product(kernel)
        row = [str(number), routines[number], _operands(plan, described), libraries[number] if is_product else ""]
        row.append(f"{work / 1e6:.3f}")
        if seconds:
            row += [f"{seconds[number] * 1e6:.1f}", f"{work / seconds[number] / 1e9:.1f}" if is_product else ""]
        rows.append(tuple(row))
    widths = [max(map(len, column)) for column in zip(*rows)]
    right = {0, 4, 5, 6}
    lines = ["  ".join(f"{x:>{w}}" if i in right else f"{x:<{w}}" for i, (x, w) in enumerate(zip(row, widths))) for row in rows]
    total = f"{len(plan)} calls, {plan.flops / 1e6:.2f} MFLOP, arena {plan.arena_size / 1e6:.2f} MB"
    if seconds:
        total += f", {sum(seconds) * 1e6:.0f} µs"
    return "\n".join(line.rstrip() for line in (*lines, total))


def save(plan: "Plan", path: "str | PathLike[str]", values: bool) -> None:
    """Write `plan`, whole."""
    write_whole(path, json.dumps(encoded(plan, values), separators=(",", ":")))


def load(path: "str | PathLike[str]") -> tuple[Any, ...]:
    """The arguments of Plan. Memory whose values were not saved holds zeros."""
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except OSError as error:
        raise PlanError(f"no plan can be read from {os.fspath(path)}: {error.strerror}") from error
    except ValueError as error:
        raise PlanError(f"{os.fspath(path)} is no plan: it is not JSON ({error})") from error
    try:
        return decoded(found)
    except (KeyError, TypeError, ValueError, AttributeError, MemoryError, OverflowError, zlib.error) as error:
        raise PlanError(f"{os.fspath(path)} is no plan of format {FORMAT}: {error!r}") from error


def encoded(plan: "Plan", values: bool = False) -> dict[str, Any]:
    """For JSON."""
    return {
        "format": FORMAT,
        "arena": plan.arena_size,
        "offsets": plan.offsets,
        "outer": [_encode_outer(outer, values) for outer in plan.outer],
        "inputs": [next(i for i, o in enumerate(plan.outer) if o.array is x) for x in plan.inputs if _used(plan, x)],
        "result": _encode(plan.described),
        "places": [list(place) for place in plan.places],
        "calls": [[kernel.__name__, [_encode(x) for x in operands]] for kernel, operands in plan.calls],
    }


def _used(plan: "Plan", x: Array) -> bool:
    return any(outer.array is x for outer in plan.outer)


def _encode_outer(outer: Outer, values: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {"role": outer.role, "shape": outer.array.shape, "dtype": outer.array.dtype.str}
    if values or outer.role == "constant" or outer.array.dtype.kind in "bi":
        entry["values"] = base64.b64encode(zlib.compress(outer.array.tobytes())).decode()
    return entry


def _encode(operand: Any) -> Any:
    if isinstance(operand, View):
        return {"buffer": operand.buffer, "offset": operand.offset, "shape": operand.shape, "strides": operand.strides,
                "dtype": operand.dtype.str}  # fmt: skip
    if isinstance(operand, k.Value):
        return _encode(operand.data)
    if isinstance(operand, complex):
        return {"complex": [operand.real, operand.imag]}
    if isinstance(operand, tuple | list):
        return [_encode(x) for x in operand]
    if isinstance(operand, dict):
        return {"dict": {str(key): _encode(value) for key, value in operand.items()}}
    if operand is None or isinstance(operand, int | float | str):
        return operand
    raise PlanError(f"a plan with {operand!r} among its operands cannot be saved")


def decoded(found: dict[str, Any]) -> tuple[Any, ...]:
    """The arguments of Plan."""
    if found["format"] != FORMAT:
        raise ValueError(f"format {found['format']}")
    outer = [_decode_outer(entry) for entry in found["outer"]]
    calls = [(k.named(name), tuple(map(_decode, operands))) for name, operands in found["calls"]]
    inputs = [outer[number].array for number in found["inputs"]]
    places = [k.Place(*map(str, place)) for place in found.get("places", ())]
    if places and len(places) != len(calls):
        raise ValueError(f"{len(places)} places of {len(calls)} calls")
    return calls, [int(x) for x in found["offsets"]], int(found["arena"]), outer, inputs, _decode(found["result"]), places


def _decode_outer(entry: dict[str, Any]) -> Outer:
    dtype, shape = _dtype(entry["dtype"]), tuple(map(int, entry["shape"]))
    array = k.aligned(shape, dtype)
    if "values" in entry:
        array[...] = np.frombuffer(zlib.decompress(base64.b64decode(entry["values"])), dtype).reshape(shape)
    return Outer(k.keep(array, str(entry["role"])), str(entry["role"]))


def _decode(operand: Any) -> Any:
    if isinstance(operand, list):
        return tuple(map(_decode, operand))
    if not isinstance(operand, dict):
        return operand
    if "complex" in operand:
        return complex(*operand["complex"])
    if "dict" in operand:
        return {key: _decode(value) for key, value in operand["dict"].items()}
    shape, strides = (tuple(map(int, operand[name])) for name in ("shape", "strides"))
    return View(int(operand["buffer"]), int(operand["offset"]), shape, strides, _dtype(operand["dtype"]))


def _dtype(name: str) -> np.dtype[Any]:
    dtype = np.dtype(name)
    if dtype.kind not in SAVED_DTYPES:
        raise ValueError(f"dtype {name}")
    return dtype


def _operands(plan: "Plan", described: tuple[Any, ...]) -> str:
    """The arrays as shape and place, the result last behind an arrow; other constants as they are."""
    words = [_word(plan, x) for x in described]
    return " ".join(words[:-1]) + f" → {words[-1]}" if len(words) > 1 else " ".join(words)


def _word(plan: "Plan", x: Any) -> str:
    if not isinstance(x, View):
        return str(x)
    dense = np.empty(x.shape, x.dtype).strides if np.prod(x.shape) < 1 << 20 else x.strides
    turned = "ᵀ" if len(x.shape) == 2 and x.strides != dense and x.strides[0] < x.strides[1] else ""
    place = f"b{x.buffer}" if x.buffer >= 0 else plan.outer[-1 - x.buffer].role
    return f"{'×'.join(map(str, x.shape)) or 'scalar'}{turned}:{place}"
