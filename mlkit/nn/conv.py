"""Convolutional layers."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import ops
from ..errors import ArgumentError, ShapeError
from ..ops.activation import FUSED
from ..tensor import Parameter
from . import init
from .module import Module

if TYPE_CHECKING:
    from numpy.random import Generator


class _Conv(Module):
    """What convolutions share: weight (outputs, channels / groups, …), bias (outputs,), both uniform within ±1/√fan_in."""

    activations: tuple[str, ...] = tuple(FUSED)
    axes = 2

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
        groups: int = 1, bias: bool = True, dtype: Any = np.float32, rng: "Generator | None" = None,
    ) -> None:  # fmt: skip
        name = type(self).__name__
        for what, value in (("in_channels", in_channels), ("out_channels", out_channels), ("groups", groups)):
            if not isinstance(value, int | np.integer) or value < 1:
                raise ArgumentError(f"{name}: {what} is {value!r}; it must be a whole number from 1")
        if in_channels % groups or out_channels % groups:
            raise ArgumentError(f"{name}: {in_channels} and {out_channels} channels cannot be shared out to {groups} groups")
        self.in_channels, self.out_channels, self.groups = int(in_channels), int(out_channels), int(groups)
        self.kernel_size = self._sizes("kernel_size", kernel_size, 1)
        self.stride, self.dilation = self._sizes("stride", stride, 1), self._sizes("dilation", dilation, 1)
        self.padding = self._padding(padding)
        bound = 1 / math.sqrt(in_channels // groups * math.prod(self.kernel_size))
        order = (*range(2, 2 + self.axes), 1, 0)  # in memory (height, width, channels, outputs): as the products read it
        self.weight = init.uniform_(Parameter(np.empty(self._weight_shape(), dtype), order=order), -bound, bound, rng)
        self.bias = init.uniform_(Parameter(np.empty(out_channels, dtype)), -bound, bound, rng) if bias else None

    def _weight_shape(self) -> tuple[int, ...]:
        return self.out_channels, self.in_channels // self.groups, *self.kernel_size

    def _padding(self, padding: Any) -> tuple[int, ...]:
        if padding == "valid":
            return (0,) * self.axes
        if padding == "same":
            reach = [gap * (taps - 1) for taps, gap in zip(self.kernel_size, self.dilation)]
            if any(step != 1 for step in self.stride) or any(n % 2 for n in reach):
                raise ArgumentError(
                    f"{type(self).__name__}: padding 'same' takes strides of 1 and odd kernels; pad the input instead"
                )
            return tuple(n // 2 for n in reach)
        return self._sizes("padding", padding, 0)

    def _sizes(self, what: str, value: Any, least: int) -> tuple[int, ...]:
        sizes = (value,) * self.axes if isinstance(value, int | np.integer) else value
        if (
            not isinstance(sizes, tuple | list)
            or len(sizes) != self.axes
            or not all(isinstance(n, int | np.integer) and n >= least for n in sizes)
        ):
            raise ArgumentError(f"{type(self).__name__}: {what} is {value!r}; it takes a whole number from {least}, or {self.axes}")
        return tuple(map(int, sizes))

    def _check(self, x: Any) -> None:
        if x.ndim != self.axes + 2 or x.shape[1] != self.in_channels:
            sizes = ", ".join("HW"[-self.axes :] if self.axes == 2 else "L")
            raise ShapeError(f"{self!r}: input {x.shape}; it takes (N, {self.in_channels}, {sizes})")

    def extra_repr(self) -> str:
        plain = {"stride": (1,) * self.axes, "padding": (0,) * self.axes, "dilation": (1,) * self.axes, "groups": 1}
        found = [f"{name}={getattr(self, name)}" for name, usual in plain.items() if getattr(self, name) != usual]
        words = [str(self.in_channels), str(self.out_channels), f"kernel_size={self.kernel_size}", *found]
        return ", ".join(words if self.bias is not None else [*words, "bias=False"])


class Conv2d(_Conv):
    """Cross-correlation of images: (N, in_channels, H, W) -> (N, out_channels, H', W')."""

    def forward(self, x: Any, activation: str | None = None, norm: Any = None) -> Any:
        """With a `norm`, a BatchNorm2d in use, as if that came behind it: see `BatchNorm2d.after`."""
        self._check(x)
        weight, bias = (self.weight, self.bias) if norm is None else norm.folded(self)
        return ops.conv2d(
            x, weight, bias, stride=self.stride, padding=self.padding, dilation=self.dilation, groups=self.groups,
            activation=activation,
        )  # fmt: skip


class Conv1d(_Conv):
    """Cross-correlation of series: (N, in_channels, L) -> (N, out_channels, L')."""

    axes = 1

    def forward(self, x: Any, activation: str | None = None) -> Any:
        self._check(x)
        return ops.conv1d(
            x, self.weight, self.bias, stride=self.stride[0], padding=self.padding[0], dilation=self.dilation[0],
            groups=self.groups, activation=activation,
        )  # fmt: skip


class ConvTranspose2d(_Conv):
    """The transpose of a Conv2d as a linear map: (N, in_channels, H, W) -> (N, out_channels, H', W').

    weight (in_channels, out_channels / groups, height, width).
    """

    activations = ()

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0, output_padding: Any = 0,
        groups: int = 1, bias: bool = True, dilation: Any = 1, dtype: Any = np.float32, rng: "Generator | None" = None,
    ) -> None:  # fmt: skip
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, dtype, rng)
        self.output_padding = self._sizes("output_padding", output_padding, 0)
        bound = 1 / math.sqrt(out_channels // groups * math.prod(self.kernel_size))  # PyTorch's fan_in of such a weight
        for parameter in (self.weight, self.bias):
            if parameter is not None:
                init.uniform_(parameter, -bound, bound, rng)

    def _weight_shape(self) -> tuple[int, ...]:
        return self.in_channels, self.out_channels // self.groups, *self.kernel_size

    def forward(self, x: Any) -> Any:
        self._check(x)
        return ops.conv_transpose2d(
            x, self.weight, self.bias, stride=self.stride, padding=self.padding, output_padding=self.output_padding,
            groups=self.groups, dilation=self.dilation,
        )  # fmt: skip
