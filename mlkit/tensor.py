"""An array that remembers how it was made: the whole engine.

A primitive is a function on arrays that returns its value and a `backward`. `backward` maps the gradient of the value to
one thunk for each input; a thunk writes the gradient of that input into the memory it is given, or into new memory, and
returns it. So a weight's gradient lands where the optimizer wants it, and a gradient that nobody needs is never computed.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from inspect import signature
from typing import TYPE_CHECKING, Any, Union

import numpy as np

from . import kernels as k
from .errors import DtypeError, MlkitError, ShapeError
from .kernels import Array, Value

Thunk = Callable[[Array | None], Array]  # may have an `add`: see Addend
Backward = Callable[[Array], Sequence[Thunk | None]]
Operand = Union["Tensor", Array, float]

_gradients_wanted: ContextVar[bool] = ContextVar("mlkit_gradients", default=True)


class _Mode:
    """What a plan may rely on besides layers: whether gradients are wanted."""

    @property
    def gradients(self) -> bool:
        return _gradients_wanted.get()


_mode = _Mode()


class Addend:
    """A thunk that can as well add its gradient to what is there: `add` tells whether it did."""

    def __init__(self, write: Thunk, add: Callable[[Array], bool]) -> None:
        self._write, self.add = write, add

    def __call__(self, out: Array | None) -> Array:
        return self._write(out)


class Tensor(Value):
    """An array, `data`, on the tape. `backward()` fills `grad` of every leaf that requires one.

    Operators and methods – `+ - * / ** @`, `sum`, `reshape`, `relu`, … – are attached by mlkit.ops, where their
    gradients are.
    """

    __slots__ = ("__weakref__", "_backward", "_gradient", "_inputs", "fresh", "requires_grad")
    __array_priority__ = 1000  # array + tensor is the tensor's affair

    def __init__(
        self, data: Array, requires_grad: bool = False, inputs: tuple[Any, ...] = (), backward: Backward | None = None
    ) -> None:
        self.data, self.requires_grad = data, requires_grad
        self._inputs, self._backward = inputs, backward
        self._gradient: Array | None = None
        self.fresh = True  # no gradient has arrived since the last zero_grad

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.data.dtype

    @property
    def ndim(self) -> int:
        return self.data.ndim

    @property
    def size(self) -> int:
        return self.data.size

    @property
    def grad(self) -> "Tensor | None":
        """The gradient that arrived since the last `zero_grad`, or None."""
        return None if self.fresh or self._gradient is None else Tensor(self._gradient)

    @property
    def is_leaf(self) -> bool:
        """Whether it was made by hand, not by an operation that is on the tape."""
        return self._backward is None

    def zero_grad(self) -> None:
        """Forget the gradient."""
        self.fresh = True

    def numpy(self) -> Array:
        """The array itself. While capturing, asking for it means that the step runs eagerly."""
        k.ask("Tensor.numpy()")
        return self.data

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        k.ask("making an array of a Tensor")
        return np.array(self.data, dtype, copy=True) if copy else np.asarray(self.data, dtype)

    def item(self) -> Any:
        """The one number in it, as Python's own."""
        k.ask("Tensor.item()")
        if self.data.size != 1:
            raise ShapeError(f"item() takes a tensor of one element; this one has shape {self.shape}")
        return self.data.item()

    def tolist(self) -> Any:
        k.ask("Tensor.tolist()")
        return self.data.tolist()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        return bool(self.item())

    def __len__(self) -> int:
        return len(self.data)

    def __iter__(self) -> Iterator["Tensor"]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        inside = f"shape={self.shape}" if k.observing() else np.array2string(self.data, separator=", ", threshold=64)
        return f"tensor({inside}, dtype={self.dtype}{', requires_grad=True' if self.requires_grad else ''})"

    def detach(self) -> "Tensor":
        """The same memory, off the tape."""
        return Tensor(self.data)

    def backward(self, gradient: Operand | None = None, retain_graph: bool = False) -> None:
        """Add the gradient of this scalar to `grad` of every leaf that it was made from.

        `gradient` is that of a value with more than one element. The tape is used up, unless `retain_graph`.
        """
        if not self.requires_grad:
            raise MlkitError("backward() of a tensor that depends on nothing which requires a gradient")
        with k.at("", "backward"):
            self._backward_from(self._seed(gradient), retain_graph)

    def _backward_from(self, gradient: Array, retain_graph: bool) -> None:
        gradients: dict[Tensor, tuple[Array, bool]] = {self: (gradient, False)}
        for tensor in _reverse_order(self):
            dy, _ = gradients.pop(tensor)
            if tensor._backward is None:
                tensor._accumulate(lambda out, dy=dy: k.into(out, dy))  # type: ignore[misc]
                continue
            for source, thunk in zip(tensor._inputs, tensor._backward(dy)):
                if isinstance(source, Tensor) and source.requires_grad and thunk is not None:
                    if source._backward is None:
                        source._accumulate(thunk)
                    else:
                        gradients[source] = _sum(gradients.get(source), thunk, dy)
            if not retain_graph:
                tensor._inputs, tensor._backward = (), _spent

    def _seed(self, gradient: Operand | None) -> Array:
        if gradient is None:
            if self.size != 1:
                raise ShapeError(f"backward() of shape {self.shape} needs the gradient of that shape; a scalar does not")
            one = k.scalar(1, self.dtype)
            return one if self.data.ndim == 0 else one.reshape(self.shape)
        array = gradient.data if isinstance(gradient, Tensor) else np.asarray(gradient, self.dtype)
        if array.shape != self.shape or array.dtype != self.dtype:
            raise ShapeError(f"the gradient has shape {array.shape}, {array.dtype}; the value {self.shape}, {self.dtype}")
        return array

    def _accumulate(self, thunk: Thunk) -> None:
        """Write a leaf's first gradient where it belongs, add the later ones."""
        if self._gradient is None:
            self._gradient = self._new_gradient()
        if self.fresh:
            thunk(self._gradient)
        else:
            k.add(self._gradient, thunk(None), out=self._gradient)
        self.fresh = False

    def _new_gradient(self) -> Array:
        return k.keep(np.empty(self.shape, self.dtype), "gradient")

    if TYPE_CHECKING:  # attached by mlkit.ops

        def __add__(self, other: Operand) -> "Tensor": ...
        def __radd__(self, other: Operand) -> "Tensor": ...
        def __sub__(self, other: Operand) -> "Tensor": ...
        def __rsub__(self, other: Operand) -> "Tensor": ...
        def __mul__(self, other: Operand) -> "Tensor": ...
        def __rmul__(self, other: Operand) -> "Tensor": ...
        def __truediv__(self, other: Operand) -> "Tensor": ...
        def __rtruediv__(self, other: Operand) -> "Tensor": ...
        def __pow__(self, other: Operand) -> "Tensor": ...
        def __matmul__(self, other: Operand) -> "Tensor": ...
        def __rmatmul__(self, other: Operand) -> "Tensor": ...
        def __neg__(self) -> "Tensor": ...
        def __getitem__(self, index: Any) -> "Tensor": ...


class Parameter(Tensor):
    """A leaf that an optimizer changes. Its memory, and its gradient's, may be parts of flat vectors: see mlkit.optim.

    Its axes may lie in memory in another `order`, slowest first: a layer chooses the one in which its op reads them.
    """

    __slots__ = ("order", "place")

    def __init__(self, data: Array, requires_grad: bool = True, order: tuple[int, ...] | None = None) -> None:
        plain = tuple(range(data.ndim))
        self.order = plain if order is None else order
        if self.order == plain:
            super().__init__(k.keep(k.aligned_copy(data), "parameter"), requires_grad)
        else:
            memory = k.keep(k.aligned_copy(data.transpose(self.order)), "parameter")
            super().__init__(self.laid(memory, data.shape), requires_grad)
        self.place: Any = None  # the flat vectors it lies in, and where

    def __deepcopy__(self, _: Any) -> "Parameter":
        return Parameter(self.data.copy(), self.requires_grad, self.order)

    def laid(self, vector: Array, shape: tuple[int, ...] | None = None) -> Array:
        """Contiguous memory of its size as a view of its shape, with the axes in its order."""
        shape = self.shape if shape is None else shape
        back = [self.order.index(axis) for axis in range(len(shape))]
        return vector.reshape([shape[axis] for axis in self.order]).transpose(back)

    def flat(self, array: Array) -> Array:
        """The reverse of `laid`: a vector, without a copy."""
        return array.transpose(self.order).reshape(-1)

    def _new_gradient(self) -> Array:
        return self.laid(k.keep(k.aligned(self.size, self.dtype), "gradient"))

    def move(self, data: Array, gradient: Array, place: Any) -> None:
        """Live on in other memory, which is kept by whoever owns it."""
        data[...] = self.data
        if self._gradient is not None:
            gradient[...] = self._gradient
        self.data, self._gradient, self.place = data, gradient, place


class Buffer(Tensor):
    """State of a layer that no optimizer changes – running statistics, say – and that is saved with it."""

    __slots__ = ()

    def __init__(self, data: Array) -> None:
        super().__init__(k.keep(np.ascontiguousarray(data).reshape(np.shape(data)), "state"))

    def __deepcopy__(self, _: Any) -> "Buffer":
        return Buffer(self.data.copy())


def tensor(data: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A Tensor of a copy of `data`: an array keeps its dtype, Python's floats become float32."""
    array = np.array(data.data if isinstance(data, Tensor) else data, dtype)
    if dtype is None and array.dtype == np.float64 and not isinstance(data, np.ndarray | np.generic | Tensor):
        array = array.astype(np.float32)
    if array.dtype.kind not in "biufc":
        raise DtypeError(f"a tensor holds numbers, not {array.dtype}")
    if requires_grad and array.dtype.kind not in "fc":
        raise DtypeError(f"only floating-point tensors have gradients, not {array.dtype}")
    return Tensor(k.keep(np.ascontiguousarray(array).reshape(array.shape), "parameter") if requires_grad else array, requires_grad)


@contextmanager
def no_grad() -> Iterator[None]:
    """Nothing is put on the tape in this block."""
    token = _gradients_wanted.set(False)
    try:
        yield
    finally:
        _gradients_wanted.reset(token)


def gradients_wanted() -> bool:
    """False inside `no_grad`."""
    return _gradients_wanted.get()


def rely_on_gradients() -> bool:
    """`gradients_wanted()`, for calls that round differently without: a plan is replayed only while it is what it was."""
    wanted: bool = k.rely(_mode, "gradients")
    return wanted


def primitive(function: Callable[..., tuple[Array, Backward]]) -> Callable[..., Any]:
    """Let a function on arrays take tensors and numbers, and put itself on the tape.

    Its inputs are the parameters that are annotated as arrays, others are options; both may be given by name. Of arrays
    alone it returns an array; `primitive.on_arrays` is the function itself, which returns (value, backward).
    """
    named = [p for p in signature(function).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    takes = [_is_array(p.annotation) for p in named]
    others = [_is_array(p.annotation) for p in signature(function).parameters.values() if p.kind is p.VAR_POSITIONAL]
    array_names = {p.name for p, array in zip(named, takes) if array}

    @wraps(function)
    def recorded(*inputs: Any, **options: Any) -> Any:
        if options and not array_names.isdisjoint(options):
            inputs = _in_order(named, array_names, inputs, options)
        wants = takes if len(inputs) <= len(takes) else takes + (others or [False]) * (len(inputs) - len(takes))
        arrays: list[Any] = []
        tracked = any_tensor = False
        for x, wanted in zip(inputs, wants):
            if isinstance(x, Tensor):
                any_tensor = True
                tracked = tracked or x.requires_grad
                arrays.append(x.data)
            else:
                arrays.append(_constant(x, inputs) if wanted and x is not None and not isinstance(x, np.ndarray) else x)
        value, backward = function(*arrays, **options)
        if tracked and _gradients_wanted.get():
            return Tensor(value, True, inputs, backward if k.observing() is None else k.returning(backward))
        return Tensor(value) if any_tensor else value

    recorded.on_arrays = function  # type: ignore[attr-defined]
    return recorded


def is_one(gradient: Array) -> bool:
    """Whether this is the gradient that a scalar's `backward()` begins with, so that nothing need be multiplied by it."""
    return gradient is k.scalar(1, gradient.dtype)


def _constant(x: Any, inputs: Sequence[Any]) -> Any:
    """A number as a kept 0-d array of its neighbours' dtype; a list as an array."""
    if not isinstance(x, bool | int | float | complex | np.generic):
        return np.asarray(x)
    own = x.dtype if isinstance(x, np.generic) else np.dtype(np.float32)
    dtype = next((i.dtype for i in inputs if isinstance(i, Tensor | np.ndarray)), own)
    if dtype.kind not in "fc" and isinstance(x, float):
        raise DtypeError(f"{x} and a tensor of {dtype}: convert one of them")
    return k.scalar(x.item() if isinstance(x, np.generic) else x, dtype)


def _is_array(annotation: Any) -> bool:
    return annotation == Array or Array in getattr(annotation, "__args__", ())


def _in_order(named: Sequence[Any], arrays: set[str], inputs: tuple[Any, ...], options: dict[str, Any]) -> tuple[Any, ...]:
    """The inputs with those behind them that were given by name, which are taken out of the options."""
    last = max(i for i, p in enumerate(named) if p.name in arrays and p.name in options)
    rest = []
    for p in named[len(inputs) : last + 1]:
        if p.name not in options and p.default is p.empty:
            raise TypeError(f"{p.name} is missing")
        rest.append(options.pop(p.name, p.default))
    return *inputs, *rest


def _sum(earlier: tuple[Array, bool] | None, thunk: Thunk, dy: Array) -> tuple[Array, bool]:
    """(sum of the gradients that arrived, whether its memory may be written): a thunk may hand `dy` itself on."""
    if earlier is None:
        gradient, base = thunk(None), dy if dy.base is None else dy.base
        return gradient, gradient is not dy and gradient.base is not base and gradient is not base
    array, own = earlier
    add = getattr(thunk, "add", None) if own else None
    if add and add(array):
        return array, True
    return k.add(array, thunk(None), out=array if own else None), True


def _spent(_: Array) -> Sequence[Thunk]:
    raise MlkitError("backward() went through this tensor before and used up its tape; use backward(retain_graph=True)")


def _reverse_order(root: Tensor) -> list[Tensor]:
    """Every tensor on the tape below `root`, each after all that use it."""
    order: list[Tensor] = []
    seen: set[Tensor] = set()
    stack = [(root, False)]
    while stack:
        tensor, expanded = stack.pop()
        if expanded:
            order.append(tensor)
        elif tensor not in seen:
            seen.add(tensor)
            stack.append((tensor, True))
            for x in tensor._inputs:
                if isinstance(x, Tensor) and x.requires_grad and x._backward is not None and x not in seen:
                    stack.append((x, False))
    return order[::-1]
