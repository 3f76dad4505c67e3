"""Products, what a call costs, ops, layers, training, inference, memory: seconds each, smaller is better."""

import numpy as np

from mlkit import blas, models, ops
from mlkit.bench import step
from mlkit.kernels import Array
from mlkit.train import predict

from .library import required


class Product:
    """`a @ b`, bound: m × k × n, and whether b lies transposed."""

    params = (
        ["128×784×512", "1×784×128", "64×64×64", "512×512×512", "2500×25×8", "12544×576×64"],
        ["NN", "NT"],
        ["float32", "float64"],
    )
    param_names = ("sizes", "turned", "dtype")

    def setup(self, sizes: str, turned: str, dtype: str) -> None:
        required()
        m, inner, n = map(int, sizes.split("×"))
        rng = np.random.default_rng(0)
        a, b = rng.standard_normal((m, inner)).astype(dtype), rng.standard_normal((inner, n)).astype(dtype)
        self.call = blas.bind(a, np.asfortranarray(b) if turned == "NT" else b, np.empty((m, n), dtype))
        self.call()

    def time_product(self, *_: str) -> None:
        self.call()


class Stack:
    """Products of stacks, as attention makes them."""

    def setup(self) -> None:
        required()
        self.a, self.b = (np.random.default_rng(0).standard_normal(shape, np.float32) for shape in ((64, 64, 32), (64, 32, 64)))
        self.out = np.empty((64, 64, 64), np.float32)

    def time_stack(self) -> None:
        blas.gemm(self.a, self.b, self.out)


class Overhead:
    """What a product of 8 × 8 costs, with all checks and bound."""

    def setup(self) -> None:
        required()
        self.a, self.out = np.ones((8, 8), np.float32), np.empty((8, 8), np.float32)
        self.bound = blas.bind(self.a, self.a.copy(), self.out)

    def time_checked(self) -> None:
        blas.gemm(self.a, self.a, self.out)

    def time_bound(self) -> None:
        self.bound()


class Op:
    """Single ops, eager, on arrays."""

    def setup(self) -> None:
        required()
        rng = np.random.default_rng(0)
        self.x, self.w, self.bias = (rng.standard_normal(shape, np.float32) for shape in ((128, 512), (512, 512), (512,)))
        self.images, self.filters = (rng.standard_normal(shape, np.float32) for shape in ((16, 32, 16, 16), (32, 32, 3, 3)))

    def time_linear(self) -> None:
        ops.linear(self.x, self.w, self.bias)

    def time_softmax(self) -> None:
        ops.softmax(self.x)

    def time_conv2d(self) -> None:
        ops.conv2d(self.images, self.filters, None, padding=1)


class Step:
    """A step of `bench.step`, replayed."""

    kind = ""

    def setup(self, name: str) -> None:
        required()
        self.run, self.inputs = step.made(f"{self.kind}:{name}")
        self.run(*self.inputs)


class Layers(Step):
    """Forward and backward of a layer, replayed."""

    kind = "layer"
    params = tuple(step.LAYERS)
    param_names = ("layer",)

    def time_layer(self, _: str) -> None:
        self.run(*self.inputs)


class Training(Step):
    """A training step of a network, replayed."""

    kind = "train"
    params = tuple(step.NETWORKS)
    param_names = ("network",)

    def time_step(self, _: str) -> None:
        self.run(*self.inputs)

    def peakmem_step(self, _: str) -> None:
        self.run(*self.inputs)


class Inference:
    """A forward pass of LeNet-5."""

    params = (1, 64)
    param_names = ("batch",)

    def setup(self, batch: int) -> None:
        required()
        self.model = models.LeNet5().eval()
        self.x: Array = np.random.default_rng(0).standard_normal((batch, 1, 28, 28), np.float32)
        predict(self.model, self.x)

    def time_predict(self, _: int) -> None:
        predict(self.model, self.x)
