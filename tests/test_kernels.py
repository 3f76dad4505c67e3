"""Kernels, their registry, and memory known by its address."""

import gc
import os
import sys

import numpy as np
import pytest

from mlkit import kernels as k
from mlkit.errors import ArgumentError, PlanError


def test_a_region_is_found_through_any_view():
    regions, owner = k.Regions(), np.zeros((6, 8))
    regions.add(owner, "label")
    for view, offset in (
        (owner, 0),
        (owner[2:], 128),
        (owner[::-1], 320),
        (owner.T[3:], 24),
        (owner[1, 2:5:2], 80),
        (owner[..., None], 0),
    ):
        label, found, array = regions.find(k.address(view))
        assert (label, found) == ("label", offset)
        assert array is owner
    assert regions.find(k.address(np.zeros(3))) is None


SHAPES = [(5, np.float32), ((3, 0), np.float64), ((), np.float64), ((7, 129), np.int8), ((3, 1 << 20), np.float32)]


@pytest.mark.parametrize(("shape", "dtype"), SHAPES)
def test_aligned_memory_begins_a_cache_line_and_lives_with_its_views(shape, dtype):
    array = k.aligned(shape, dtype)
    assert k.address(array) % k.ALIGNMENT == 0
    assert array.shape == np.empty(shape).shape
    assert array.dtype == dtype
    assert not array.any()
    assert array[...].base is array  # who knows memory by this array must not lose it while a view is in use
    copy = k.aligned_copy(np.arange(6.0).reshape(2, 3).T)
    assert copy.flags.c_contiguous
    assert copy.tolist() == [[0, 3], [1, 4], [2, 5]]


def test_memory_that_the_system_does_not_have_is_a_memory_error():
    with pytest.raises(MemoryError):
        k.aligned(sys.maxsize - (1 << 16), np.uint8)


@pytest.mark.parametrize("size", [100, 1 << 22])
def test_what_a_forked_child_writes_into_aligned_memory_stays_with_it(size):
    array = k.aligned(size)
    child = os.fork()
    if child == 0:
        array.fill(1)
        os._exit(int(array.sum() != size))
    assert os.waitpid(child, 0)[1] == 0
    assert not array.any()


@pytest.mark.parametrize("count", [0, 1, 2, 600, 8191, 8192, 9973, 65536, 100003])
@pytest.mark.parametrize("width", [1, 3, 16, 9000])
def test_long_rows_share_out_all_rows(count, width):
    rows = k.long_row(count, width)
    assert rows >= 1
    assert count % rows == 0
    divisors = [n for n in range(1, count + 1) if count % n == 0 and k.BUFFER <= n * width < 2 * k.BUFFER]
    assert not divisors or rows == divisors[0]


def test_a_region_is_forgotten_when_its_array_dies():
    died = []
    regions = k.Regions(on_death=died.append)
    array = np.zeros(1000)
    view = array[3:]
    regions.add(array, 7)
    del array
    gc.collect()
    assert died == []
    assert regions.find(k.address(view))[0] == 7
    del view
    gc.collect()
    assert died == [7]


def test_memory_that_is_used_again_is_not_taken_for_the_old():
    regions = k.Regions()
    for number in range(200):
        array = np.zeros(64)
        assert regions.find(k.address(array)) is None
        regions.add(array, number)
        assert regions.find(k.address(array))[0] == number
        del array


def test_a_kernel_is_found_by_its_name():
    assert k.named("add") is np.add
    assert k.named("summed") is k.KERNELS["summed"]
    for name in ("os", "load", "nothing", "frompyfunc"):
        with pytest.raises(PlanError):
            k.named(name)


def test_two_kernels_cannot_share_a_name():
    with pytest.raises(ValueError, match="summed"):

        @k.kernel
        def summed(x, out):
            pass


def test_kept_memory_is_contiguous():
    with pytest.raises(ArgumentError):
        k.keep(np.zeros((4, 4)).T[1:])


def test_a_kept_number_is_shared():
    assert k.scalar(2.0, np.dtype(np.float32)) is k.scalar(2.0, np.dtype(np.float32))
    assert k.row(0, 5, np.dtype(np.float32)).tolist() == [0] * 5


def test_observers_nest():
    seen = []

    class Seer(k.Observer):
        def __init__(self, name):
            self.name = name

        def run(self, function, operands, bound):
            seen.append(self.name)
            super().run(function, operands, bound)

    with Seer("outer"), Seer("inner"):
        assert k.add(np.ones(2), np.ones(2)).tolist() == [2, 2]
    assert seen == ["inner", "outer"]
