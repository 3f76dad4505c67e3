"""Kernels, their registry, and memory known by its address."""

import gc

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
