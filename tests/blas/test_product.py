"""gemm, gemv, stacks and level 1 under every library, against NumPy in higher precision."""

import itertools
import math

import numpy as np
import pytest

from mlkit import blas, kernels
from mlkit.blas.product.matrix import matrix_product
from mlkit.errors import ArgumentError, DtypeError, ShapeError

DTYPES = [np.float32, np.float64, np.complex64, np.complex128]
UNIT = {np.dtype(t): np.finfo(t).eps / 2 for t in DTYPES}


def random(rng, shape, dtype):
    x = rng.standard_normal(shape)
    return (x + 1j * rng.standard_normal(shape) if np.dtype(dtype).kind == "c" else x).astype(dtype)


def assert_product(c, a, b, alpha=1.0, beta=0.0, before=None):
    """|c - exact| is within the error bound of a sum of k products, taken as LAPACK's tests take it."""
    wide = np.clongdouble if c.dtype.kind == "c" else np.longdouble
    exact = wide(alpha) * np.matmul(a.astype(wide), b.astype(wide))
    size = abs(alpha) * np.matmul(np.abs(a).astype(float), np.abs(b).astype(float))
    if beta:
        exact, size = exact + wide(beta) * before, size + abs(beta) * np.abs(before)
    bound = 4 * UNIT[c.dtype] * (a.shape[-1] + 2) * size + np.finfo(c.dtype).tiny
    assert c.shape == exact.shape
    assert (np.abs(c - exact) <= bound).all()


def layouts(rng, shape, dtype):
    """The same kind of matrix as it may lie in memory."""
    rows, columns = shape
    yield random(rng, shape, dtype)
    yield random(rng, shape[::-1], dtype).T
    yield random(rng, (rows + 2, columns + 3), dtype)[1 : rows + 1, 2 : columns + 2]
    yield random(rng, (columns + 3, rows + 2), dtype)[2 : columns + 2, 1 : rows + 1].T
    yield random(rng, (rows, 2 * columns), dtype)[:, ::2]
    yield random(rng, shape, dtype)[::-1]
    yield random(rng, shape, dtype)[:, ::-1]
    yield np.broadcast_to(random(rng, (1, columns), dtype), shape)
    yield np.broadcast_to(random(rng, (rows, 1), dtype), shape)
    yield random(rng, shape, dtype).reshape(rows, columns, 1)[..., 0]
    for shift in (1, 4, 8):  # misaligned by a byte; by as much as a part of a complex number
        raw = np.zeros(rows * columns * np.dtype(dtype).itemsize + shift, np.uint8)[shift:].view(dtype).reshape(shape)
        raw[...] = random(rng, shape, dtype)
        yield raw


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 4, 5), (1, 6, 5), (5, 6, 1), (1, 6, 1), (4, 1, 3), (17, 33, 9)])
def test_every_layout_gives_the_product(library, rng, dtype, shape):
    m, k, n = shape
    for a, b in itertools.product(layouts(rng, (m, k), dtype), layouts(rng, (k, n), dtype)):
        assert_product(blas.gemm(a, b), a, b)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_layout_of_out_is_written_and_nothing_beside_it(library, rng, dtype):
    a, b = random(rng, (5, 7), dtype), random(rng, (7, 6), dtype)
    for target in layouts(rng, (5, 6), dtype):
        if not target.flags.writeable:
            continue
        for alpha, beta in ((1.0, 0.0), (-0.5, 1.0), (2.0, 0.25), (0.0, 2.0), (0.0, 0.0)):
            before = target.copy()
            owner = target if target.base is None else target.base
            outside = owner.copy()
            assert blas.gemm(a, b, out=target, alpha=alpha, beta=beta) is target
            assert_product(target, a, b, alpha, beta, before)
            after = owner.copy()
            target[...] = before
            assert np.array_equal(owner.view(np.uint8), outside.view(np.uint8)) or owner.dtype == np.uint8
            owner[...] = after


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nan_in_out_is_never_read_under_beta_0(library, dtype):
    for m, k, n in ((4, 5, 6), (1, 5, 6), (4, 5, 1), (4, 0, 6), (64, 64, 64)):
        out = np.full((m, n), np.nan, dtype)
        assert np.isfinite(blas.gemm(np.ones((m, k), dtype), np.ones((k, n), dtype), out=out)).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nan_in_an_operand_is_not_read_under_alpha_0(library, dtype):
    a, out = np.full((4, 5), np.nan, dtype), np.ones((4, 6), dtype)
    assert (blas.gemm(a, np.ones((5, 6), dtype), out=out, alpha=0.0, beta=3.0) == 3).all()


@pytest.mark.parametrize("shape", [(0, 3, 4), (3, 0, 4), (3, 4, 0), (0, 0, 0)])
def test_zero_sizes(library, shape):
    m, k, n = shape
    assert np.array_equal(blas.gemm(np.ones((m, k)), np.ones((k, n))), np.zeros((m, n)))
    assert np.array_equal(blas.gemm(np.ones((m, k)), np.ones((k, n)), out=np.full((m, n), 2.0), beta=1.5), np.full((m, n), 3.0))


def test_out_may_overlap_an_operand(library, rng):
    a, b = rng.standard_normal((6, 6)), rng.standard_normal((6, 6))
    right = np.matmul(a, b)
    for operand in (0, 1):
        arrays = [a.copy(), b.copy()]
        assert np.allclose(blas.gemm(*arrays, out=arrays[operand]), right)
    whole = np.zeros((9, 6))
    whole[:6] = a
    assert np.allclose(blas.gemm(whole[:6], b, out=whole[3:]), right)


def test_a_scalar_array_is_read_at_each_bound_call(library, rng):
    a, b, out = rng.standard_normal((3, 4)), rng.standard_normal((4, 5)), np.zeros((3, 5))
    alpha = np.array(1.0)
    call = blas.bind(a, b, out, alpha=alpha)
    for value in (2.0, -1.0):
        alpha[...] = value
        call()
        assert np.allclose(out, value * np.matmul(a, b))


def test_a_bound_call_keeps_its_arrays_alive(library):
    call = blas.bind(np.ones((50, 50)), np.ones((50, 50)), out := np.zeros((50, 50)))
    rubbish = [np.full((50, 50), np.nan) for _ in range(50)]
    call()
    assert (out == 50).all()
    assert rubbish


def test_gemv(library, rng):
    for dtype in DTYPES:
        a, x = random(rng, (5, 8), dtype), random(rng, 16, dtype)[::2]
        assert_product(blas.gemv(a, x)[:, None], a, x[:, None])
        out = random(rng, 10, dtype)[::2]
        before = out.copy()
        assert blas.gemv(a, x, out=out, alpha=0.5, beta=2.0) is out
        assert_product(out[:, None], a, x[:, None], 0.5, 2.0, before[:, None])


STACKS = [
    ((3, 4, 5), (5, 6)),
    ((2, 3, 4, 5), (5, 6)),
    ((3, 4, 5), (3, 5, 6)),
    ((4, 5), (3, 5, 6)),
    ((2, 1, 4, 5), (3, 5, 6)),
    ((1, 4, 5), (3, 5, 1)),
    ((0, 4, 5), (0, 5, 6)),
    ((3, 4, 0), (3, 0, 6)),
    ((3, 1, 5), (3, 5, 1)),
]


@pytest.mark.parametrize(("left", "right"), STACKS)
def test_stacks(library, rng, left, right):
    for dtype in DTYPES:
        a, b = random(rng, left, dtype), random(rng, right, dtype)
        turned = random(rng, (*left[:-2], left[-1], left[-2]), dtype).swapaxes(-1, -2)
        wide = random(rng, (*right[:-1], 2 * right[-1]), dtype)[..., ::2]
        for x, y in ((a, b), (turned, b), (a, wide), (a[..., ::-1, :], b)):
            c = blas.gemm(x, y)
            assert_product(c, x, y)
            out = c.copy()
            blas.gemm(x, y, out=out, alpha=2.0, beta=-1.0)
            assert_product(out, x, y, 2.0, -1.0, c)


def test_stacks_on_worker_threads_are_those_without(rng):
    a, b = rng.standard_normal((8, 60, 70)), rng.standard_normal((8, 70, 80))
    with blas.using("openblas-serial" if "openblas-serial" in [c.name for c, _ in blas.available()] else None):
        alone = blas.gemm(a, b)
    for candidate, report in blas.available():
        if report.failure or not report.adjustable:
            continue
        with blas.using(candidate.name, threads=2) as library:
            assert np.allclose(blas.gemm(a, b), alone)
            assert library.threads == 2


def test_level_1(library, rng):
    for dtype in DTYPES:
        x, y = random(rng, 3000, dtype), random(rng, 3000, dtype)
        scale = np.abs(x).astype(float) + np.abs(y)
        for u, v in (
            (x, y),
            (x[::3], y[::3]),
            (x[::-1], y),
            (x.reshape(50, 60)[:, :20], y.reshape(50, 60)[:, 20:40]),
            (x[:0], y[:0]),
        ):
            size = np.abs(u).astype(float) + np.abs(v)
            tolerance = 16 * UNIT[np.dtype(dtype)]
            assert (np.abs(blas.axpy(u, v.copy(), 0.5) - (0.5 * u + v)) <= tolerance * size).all()
            assert (np.abs(blas.axpby(u, v.copy(), 0.5, -2) - (0.5 * u - 2 * v)) <= 2 * tolerance * size).all()
            assert (np.abs(blas.scal(u.copy(), 3) - 3 * u) <= 3 * tolerance * size).all()
            total = np.abs(u.astype(complex)) @ np.abs(v.astype(complex)).reshape(u.shape).T if u.ndim == 1 else None
            exact = (u.astype(np.clongdouble) * v).sum()
            assert abs(blas.dot(u, v)[()] - exact) <= UNIT[np.dtype(dtype)] * 4 * (u.size + 2) * (
                abs(total) if total is not None else size.sum() ** 2
            )
            assert np.isclose(blas.nrm2(u), np.sqrt((np.abs(u.astype(np.clongdouble)) ** 2).sum()), rtol=1e-5)
            assert np.isclose(blas.asum(u), (np.abs(u.real) + np.abs(u.imag)).sum(dtype=float), rtol=1e-4)
        assert scale.size == 3000


def test_level_1_in_place_on_overlapping_memory(library):
    whole = np.arange(10.0)
    right = whole.copy()
    right[1:] += 2 * whole[:-1]
    blas.axpy(whole[:-1], whole[1:], 2.0)
    assert np.array_equal(whole, right)


@pytest.mark.parametrize(
    ("a", "b", "error"),
    [
        (np.ones((2, 3)), np.ones((4, 5)), ShapeError),
        (np.ones((2, 3)), np.ones(3), ShapeError),
        (np.ones((2, 2, 3)), np.ones((3, 3, 2)), ShapeError),
        (np.ones((2, 3)), np.ones((3, 2), np.float32), DtypeError),
        (np.ones((2, 3), int), np.ones((3, 2), int), DtypeError),
        (np.ones((2, 3), ">f8"), np.ones((3, 2), ">f8"), DtypeError),
        (np.ones((2, 3), np.float16), np.ones((3, 2), np.float16), DtypeError),
        ([[1.0]], np.ones((1, 1)), DtypeError),
    ],
)
def test_operands_that_do_not_fit_are_refused(a, b, error):
    with pytest.raises(error):
        blas.gemm(a, b)


@pytest.mark.parametrize(
    ("out", "error"),
    [
        (np.ones((2, 3)), ShapeError),
        (np.ones((2, 2), np.float32), DtypeError),
        (np.broadcast_to(np.ones(2), (2, 2)), ArgumentError),
    ],
)
def test_an_out_that_does_not_fit_is_refused(out, error):
    with pytest.raises(error):
        blas.gemm(np.ones((2, 3)), np.ones((3, 2)), out=out)


def test_beta_without_out_is_refused():
    with pytest.raises(ArgumentError, match="beta"):
        blas.gemm(np.ones((2, 3)), np.ones((3, 2)), beta=1.0)


def test_a_complex_factor_of_real_arrays_is_refused():
    with pytest.raises(DtypeError):
        blas.gemm(np.ones((2, 3)), np.ones((3, 2)), alpha=1j)


def test_an_operand_whose_rows_lie_around_the_new_memory(monkeypatch):
    around = np.arange(1000.0)
    a, b = np.lib.stride_tricks.as_strided(around, (2, 3), (900 * 8, 8)), np.arange(12.0).reshape(3, 4)
    wanted = a.copy() @ b
    monkeypatch.setattr(kernels, "empty", lambda shape, dtype: around[100:][: math.prod(shape)].reshape(shape))
    np.testing.assert_allclose(blas.gemm(a, b), wanted)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_a_library_is_slow_at_is_made_of_a_transposed_copy(library, rng, dtype, monkeypatch):
    """As OpenBLAS's AVX-512 kernels are, which not every machine takes."""
    monkeypatch.setattr(library, "_small_kernels", True)
    a, b = rng.standard_normal((37, 67)).astype(dtype), rng.standard_normal((61, 67)).astype(dtype)
    out = np.ones((37, 61), dtype)
    with blas.using(library), blas.recording() as log:
        assert np.allclose(blas.gemm(a, b.T), a @ b.T, atol=1e-4)
        assert np.allclose(blas.gemm(a, b.T, out, 2.0, 3.0), 2 * (a @ b.T) + 3, atol=1e-3)
        square = rng.standard_normal((61, 61)).astype(dtype)
        wanted = square @ square.T
        assert np.allclose(blas.gemm(square, square.T, square), wanted, atol=1e-3)  # over its own operands
    assert {call.strides[0] for call in log if call.shapes[0] == (37, 67)} == {(a.itemsize, 37 * a.itemsize)}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("m", "inner", "n"), [(150, 97, 101), (60, 300, 70)])
def test_what_a_library_would_pack_is_cut(library, rng, dtype, m, inner, n, monkeypatch):
    """Into rows, or along the inner axis, as it suits OpenBLAS's AVX-512 kernels, which not every machine takes."""
    monkeypatch.setattr(library, "_small_kernels", True)
    with blas.using(library):
        lying = (itertools.islice(layouts(rng, shape, dtype), 4) for shape in ((m, inner), (inner, n), (m, n)))
        for a, b, out in itertools.product(*lying):
            before = out.copy()
            assert_product(blas.gemm(a, b, out, 2.0, 3.0), a, b, 2.0, 3.0, before)
        a, b, out = (np.ones(shape, dtype) for shape in ((m, inner), (inner, n), (m, n)))
        function, arguments = kernels.bind(matrix_product, (a, b, 1.0, 0.0, out))
        assert len(arguments[1]) > 1
        function(*arguments)
        assert (out == inner).all()
        assert (blas.bind(a, b, out).func, library.cut(m, n, inner)[0]) == (library.gemm[a.dtype], inner == 300)


def test_integers_too_large_for_the_library_are_refused(library):
    step = 2**31 * 8  # from one row to the next: it does not fit 32 bits
    huge = np.lib.stride_tricks.as_strided(np.ones((2, 3)), (2, 3), (step, 8), writeable=False)
    if library.report.int64:
        return
    with pytest.raises(ArgumentError, match="too large"):
        blas.gemm(huge, np.ones((3, 2)))
