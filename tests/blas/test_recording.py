"""A recording sees every product, replayed plans and workers included."""

import numpy as np

import mlkit
from mlkit import blas


def test_a_recording_sees_routine_shapes_strides_library_threads_seconds_and_flops(library):
    a, b = np.ones((4, 5), np.float32), np.ones((6, 5), np.float32)
    with blas.recording() as log:
        blas.gemm(a, b.T)
        blas.gemv(a.astype(float), np.ones(5))
        blas.dot(a, a)
    assert [call.routine for call in log] == ["sgemm", "dgemv", "sdot"]
    first = log[0]
    assert first.shapes == ((4, 5), (5, 6), (4, 6))
    assert first.strides == ((20, 4), (4, 20), (24, 4))
    assert first.library == library.name
    assert first.threads == library.threads
    assert first.dtype == "float32"
    assert first.flops == 2 * 4 * 5 * 6
    assert first.seconds > 0
    assert "sgemm" in str(log)


def test_the_flops_of_complex_and_stacked_products():
    with blas.recording() as log:
        blas.gemm(np.ones((4, 5), complex), np.ones((5, 6), complex))
        blas.gemm(np.ones((3, 4, 5)), np.ones((3, 5, 6)))
        blas.gemm(np.ones((3, 4, 5)), np.ones((5, 6)))
    assert [call.flops for call in log] == [8 * 120, 3 * 240, 3 * 240]
    assert log[2].shapes[0] == (12, 5), "shared weights are one product"


def test_a_recording_sees_replays():
    step = mlkit.capture(lambda x: blas.gemm(x, x))
    with blas.recording() as log:
        for _ in range(3):
            step(np.ones((4, 4)))
    assert len(log) == 3


def test_nothing_is_recorded_outside_the_block():
    with blas.recording() as log:
        pass
    blas.gemm(np.ones((2, 2)), np.ones((2, 2)))
    assert len(log) == 0
