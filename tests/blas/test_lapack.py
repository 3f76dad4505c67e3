"""LAPACK through every library, and in pairs: residuals as small as LAPACK's own tests want them."""

import numpy as np
import pytest

from mlkit import blas
from mlkit.blas import lapack
from mlkit.errors import ArgumentError, BlasError, DtypeError, LibraryNotFound, NonFiniteError, ShapeError

DTYPES = ("float32", "float64", "complex64", "complex128")
RATIO = 30  # residuals in units of precision × size × norm: LAPACK's threshold


def drawn(rng, dtype, *shape):
    x = rng.standard_normal(shape)
    return (x + 1j * rng.standard_normal(shape) if np.dtype(dtype).kind == "c" else x).astype(dtype)


def ratio(residual, size, *factors):
    scale = np.prod([np.linalg.norm(factor) for factor in factors])
    return np.linalg.norm(residual) / (np.finfo(residual.dtype).eps * size * scale)


NAMES = [candidate.name for candidate, report in blas.available() if not report.failure]


def has(name, implementation):
    try:
        with blas.using(name):
            lapack.of(None, implementation)
    except (LibraryNotFound, BlasError, ArgumentError):
        return False
    return True


PAIRS = [(name, implementation) for name in NAMES for implementation in (None, "netlib", "libflame") if has(name, implementation)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "implementation"), PAIRS)
def test_every_factorisation_gives_the_matrix_back(name, implementation, dtype):
    rng = np.random.default_rng(0)
    with blas.using(name):
        for m, n in ((1, 1), (7, 7), (40, 13), (13, 40), (120, 100)):
            a, b = drawn(rng, dtype, m, n), drawn(rng, dtype, m, 3)
            q, r = lapack.qr(a, implementation)
            assert ratio(q @ r - a, max(m, n), a) < RATIO
            assert ratio(q.conj().T @ q - np.eye(min(m, n), dtype=dtype), max(m, n)) < RATIO
            assert not np.tril(r, -1).any()
            u, s, vt = lapack.svd(a, implementation)
            assert ratio((u * s) @ vt - a, max(m, n), a) < RATIO
            assert (np.diff(s) <= 0).all()
            x, rank = lapack.lstsq(a, b, implementation=implementation)
            assert rank == min(m, n)
            assert ratio(a.conj().T @ (a @ x - b), max(m, n), a, a, x) < 10 * RATIO
        for n in (1, 2, 33, 150):
            a, b = drawn(rng, dtype, n, n) + n * np.eye(n, dtype=dtype), drawn(rng, dtype, n)
            x = lapack.solve(a, b, implementation)
            assert x.shape == b.shape
            assert ratio(a @ x - b, n, a, x) < RATIO
            h = a + a.conj().T
            w, v = lapack.eigh(h, implementation)
            assert ratio(h @ v - v * w, n, h) < RATIO
            assert (np.diff(w) >= 0).all()
            lower = lapack.cholesky(h @ h.conj().T + np.eye(n, dtype=dtype), implementation)
            assert ratio(lower @ lower.conj().T - h @ h.conj().T - np.eye(n, dtype=dtype), n, h, h) < RATIO


def test_a_pair_calls_the_library_below_it():
    """The same LAPACK over two libraries rounds differently, as their products do; over one it repeats itself."""
    names = [name for name, implementation in PAIRS if implementation == "netlib"]
    different = [name for name in names if name in ("openblas", "blis", "atlas", "reference")]
    if len(different) < 2:
        pytest.skip("netlib's LAPACK and two libraries to put it over are not here")
    a = np.random.default_rng(0).standard_normal((300, 300))
    found = []
    for name in (*different, different[0]):
        with blas.using(name, threads=1) if blas.resolve(name).report.adjustable else blas.using(name):
            found.append(lapack.solve(a, a[0], "netlib"))
    assert (found[0] == found[-1]).all()
    assert any((found[0] != other).any() for other in found[1:-1])


def test_views_are_read_as_they_are():
    rng = np.random.default_rng(0)
    a = rng.standard_normal((20, 30))[::2, 5:15]
    b = np.ones(10)
    before = a.copy()
    assert np.allclose(lapack.solve(a, b), np.linalg.solve(before, b))
    assert np.allclose(lapack.solve(a.T, b), np.linalg.solve(before.T, b))
    assert (a == before).all()


def test_least_squares_of_less_than_full_rank_has_the_least_norm():
    a = np.array([[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]])
    x, rank = lapack.lstsq(a, np.array([1.0, 2.0, 3.0]))
    assert rank == 1
    assert np.allclose(x, [1, 1])


def test_empty_matrices_are_factored_into_empty_ones():
    for shape in ((0, 0), (3, 0), (0, 3)):
        assert lapack.qr(np.zeros(shape))[0].shape == (shape[0], 0)
        assert lapack.svd(np.zeros(shape))[1].shape == (0,)
    assert lapack.eigh(np.zeros((0, 0)))[0].shape == (0,)
    assert lapack.cholesky(np.zeros((0, 0))).shape == (0, 0)
    for right in ((0,), (0, 3)):
        assert lapack.solve(np.zeros((0, 0)), np.zeros(right)).shape == right
    assert lapack.solve(np.eye(2), np.zeros((2, 0))).shape == (2, 0)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: lapack.solve(np.zeros((3, 3)), np.ones(3)), BlasError),
        (lambda: lapack.solve(np.ones((3, 4)), np.ones(3)), ShapeError),
        (lambda: lapack.solve(np.eye(3), np.ones(4)), ShapeError),
        (lambda: lapack.solve(np.eye(3), np.ones(3, np.float32)), DtypeError),
        (lambda: lapack.solve(np.eye(3, dtype=int), np.ones(3, int)), DtypeError),
        (lambda: lapack.qr([[1.0]]), DtypeError),
        (lambda: lapack.qr(np.ones(3)), ShapeError),
        (lambda: lapack.cholesky(-np.eye(3)), BlasError),
        (lambda: lapack.cholesky(np.ones((2, 3))), ShapeError),
        (lambda: lapack.eigh(np.array([[np.nan]])), NonFiniteError),
        (lambda: lapack.svd(np.array([[np.inf]])), NonFiniteError),
        (lambda: lapack.solve(np.eye(2), np.ones(2), "magic"), (ArgumentError, BlasError)),
        (lambda: lapack.solve(np.eye(2), np.ones(2), "/nowhere/lapack.so"), (LibraryNotFound, BlasError)),
    ],
)
def test_what_cannot_be_done_is_one_error(call, error):
    with pytest.raises(error):
        call()
