"""The tape."""

import gc
import weakref

import numpy as np
import pytest

import mlkit
from mlkit import ops, tensor
from mlkit.errors import DtypeError, MlkitError, ShapeError


def test_operators_are_the_primitives():
    x = tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    y = ((2.0 * x + 1.0 - x / 2.0) ** 2.0 @ x.T).sum() - (1.0 - x).mean() + (-x).exp().max()
    e = x.data
    right = (((2 * e + 1 - e / 2) ** 2) @ e.T).sum() - (1 - e).mean() + np.exp(-e).max()
    assert np.isclose(y.item(), right)
    assert np.allclose((np.ones((2, 2), np.float32) @ x).data, np.ones((2, 2)) @ e)
    assert isinstance(np.ones((2, 2), np.float32) * x, mlkit.Tensor)


def test_a_value_used_twice_gets_the_sum_of_its_gradients():
    x = tensor([2.0, 3.0], requires_grad=True)
    y = x * x
    (y + y + y * x).sum().backward()
    assert np.allclose(x.grad.data, 4 * x.data + 3 * x.data**2)


def test_a_gradient_that_is_handed_on_is_not_written_over():
    """add hands the same array to both inputs; the sum that one of them forms must not reach the other."""
    a, b = tensor([1.0], requires_grad=True), tensor([1.0], requires_grad=True)
    u, v = a * 1.0, b * 1.0
    s = u + v
    (s + u * 2.0 + s.reshape(1, 1).sum()).sum().backward()
    assert (a.grad.item(), b.grad.item()) == (4.0, 2.0)


def test_gradients_add_up_until_zero_grad():
    x = tensor([3.0], requires_grad=True)
    for total in (2.0, 4.0):
        (x * 2.0).sum().backward()
        assert x.grad.item() == total
    x.zero_grad()
    assert x.grad is None
    (x * 5.0).sum().backward()
    assert x.grad.item() == 5.0


def test_a_leaf_that_is_its_own_loss():
    x = tensor(3.0, requires_grad=True)
    x.backward()
    assert x.grad.item() == 1.0


def test_a_long_chain_needs_no_recursion():
    x = y = tensor(1.0, requires_grad=True)
    for _ in range(5000):
        y = y + 0.0
    y.backward()
    assert x.grad.item() == 1.0


def test_gradients_that_nobody_needs_are_not_computed():
    called = []

    @mlkit.tensor.__globals__["primitive"]
    def spy(a, b):
        return a + b, lambda dy: (lambda out: called.append("a") or dy, lambda out: called.append("b") or dy)

    spy(tensor([1.0], requires_grad=True) * 1.0, tensor([1.0])).sum().backward()
    assert called == ["a"]


def test_no_grad_puts_nothing_on_the_tape():
    x = tensor([1.0], requires_grad=True)
    with mlkit.no_grad():
        y = x * 2.0
    assert not y.requires_grad
    assert (x * 2.0).requires_grad
    assert not (x * 2.0).detach().requires_grad


def test_the_tape_is_used_up_unless_it_is_retained():
    x = tensor([2.0], requires_grad=True)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.item() == 8.0
    with pytest.raises(MlkitError, match="retain_graph"):
        y.backward()


def test_backward_frees_the_values_on_the_way():
    x = tensor(np.ones(10), requires_grad=True)
    y = ops.exp(x)
    seen = weakref.ref(y.data)
    loss = y.sum()
    del y
    loss.backward()
    gc.collect()
    assert seen() is None


def test_backward_of_what_has_no_gradient():
    with pytest.raises(MlkitError, match="requires a gradient"):
        tensor([1.0]).sum().backward()
    with pytest.raises(ShapeError, match="needs the gradient"):
        tensor([1.0, 2.0], requires_grad=True).exp().backward()
    with pytest.raises(ShapeError):
        tensor([1.0, 2.0], requires_grad=True).exp().backward(np.ones(3, np.float32))


def test_tensors_from_python_and_from_arrays():
    assert tensor([1.0, 2.0]).dtype == np.float32
    assert tensor(np.ones(2)).dtype == np.float64
    assert tensor([1, 2]).dtype.kind == "i"
    assert tensor(tensor([1.0])).data.tolist() == [1.0]
    assert tensor([1, 2], dtype=np.float32).dtype == np.float32
    array = np.ones(2)
    assert not np.shares_memory(tensor(array).data, array)
    with pytest.raises(DtypeError):
        tensor(["a"])
    with pytest.raises(DtypeError):
        tensor([1, 2], requires_grad=True)


def test_values_come_out():
    x = tensor([[1.5, 2.5]])
    assert x.tolist() == [[1.5, 2.5]]
    assert np.asarray(x).tolist() == x.numpy().tolist()
    assert (x[0, 1].item(), float(x[0, 0]), int(x[0, 1]), bool(x[0, 0])) == (2.5, 1.5, 2, True)
    assert [row.shape for row in x] == [(2,)]
    assert len(x) == 1
    assert "1.5, 2.5" in repr(x)
    with pytest.raises(ShapeError):
        x.item()


def test_methods_for_shapes():
    x = tensor(np.arange(24.0).reshape(2, 3, 4), requires_grad=True)
    assert x.reshape(6, 4).shape == x.reshape((6, 4)).shape == (6, 4)
    assert x.view(-1).shape == (24,)
    assert x.flatten(1).shape == (2, 12)
    assert x.T.shape == (4, 3, 2)
    assert x.transpose(0, 1).shape == (3, 2, 4)
    assert x.permute(2, 0, 1).shape == (4, 2, 3)
    assert x[:, None, ..., 1].shape == (2, 1, 3)
