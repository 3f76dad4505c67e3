"""The workloads of peers.py in JAX (jit, donated buffers, NHWC images) and, where it can do them, in scikit-learn."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from mlkit import models, nn

Step = Callable[[], float]


def jax_step(model: nn.Module, x: np.ndarray, y: np.ndarray, classes: int) -> Step:
    """A compiled training step with Adam, from the first values of `model`."""
    import jax
    import jax.numpy as jnp

    parameters = {name: jnp.asarray(np.array(p.data)) for name, p in model.named_parameters()}
    forward = network(model)
    source = jnp.asarray(x.transpose(0, 2, 3, 1) if x.ndim == 4 else x)
    target = jnp.asarray(y)

    def loss_of(parameters: Any, source: Any, target: Any) -> Any:
        out = forward(parameters, source)
        if not classes:
            return ((out - target) ** 2).mean()
        return -jnp.take_along_axis(jax.nn.log_softmax(out), target[:, None], 1).mean()

    def update(state: Any, source: Any, target: Any) -> Any:
        p, m, v, t = state
        loss, g = jax.value_and_grad(loss_of)(p, source, target)
        t = t + 1
        m = jax.tree_util.tree_map(lambda a, b: 0.9 * a + 0.1 * b, m, g)
        v = jax.tree_util.tree_map(lambda a, b: 0.999 * a + 0.001 * b * b, v, g)
        p = jax.tree_util.tree_map(lambda a, b, c: a - 1e-3 * (b / (1 - 0.9**t)) / (jnp.sqrt(c / (1 - 0.999**t)) + 1e-8), p, m, v)
        return (p, m, v, t), loss

    compiled = jax.jit(update, donate_argnums=0)
    zeros = [jax.tree_util.tree_map(jnp.zeros_like, parameters) for _ in range(2)]
    state = [(parameters, *zeros, jnp.zeros(()))]

    def step() -> float:
        state[0], loss = compiled(state[0], source, target)
        return float(loss)

    return step


def network(model: nn.Module) -> Callable[[Any, Any], Any]:
    """`forward(parameters, x)` in JAX for a network of peers.py."""
    if isinstance(model, nn.Sequential):
        return lambda p, x: sequential(model, p, x)
    if isinstance(model, models.SmallResNet):
        return resnet
    return lstm if hasattr(model, "recurrent") else gpt


def conv(x: Any, weight: Any, stride: int = 1, padding: int = 0) -> Any:
    from jax import lax

    around = [(padding, padding)] * 2
    return lax.conv_general_dilated(x, weight, (stride, stride), around, dimension_numbers=("NHWC", "OIHW", "NHWC"))


def sequential(model: nn.Sequential, p: Any, x: Any) -> Any:
    import jax
    import jax.numpy as jnp
    from jax import lax

    for name, layer in model.children():
        if isinstance(layer, nn.Linear):
            x = x @ p[f"{name}.weight"].T + p[f"{name}.bias"]
        elif isinstance(layer, nn.Conv2d):
            x = conv(x, p[f"{name}.weight"], padding=layer.padding[0]) + p[f"{name}.bias"]
        elif isinstance(layer, nn.ReLU):
            x = jax.nn.relu(x)
        elif isinstance(layer, nn.MaxPool2d):
            x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
        elif isinstance(layer, nn.Flatten):
            x = x.transpose(0, 3, 1, 2).reshape(len(x), -1)
    return x


def resnet(p: Any, x: Any) -> Any:
    import jax

    def norm(x: Any, name: str) -> Any:
        mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
        return (x - mean) * jax.lax.rsqrt(var + 1e-5) * p[f"{name}.weight"] + p[f"{name}.bias"]

    x = jax.nn.relu(norm(conv(x, p["conv1.weight"], padding=1), "bn1"))
    for stage in range(3):
        block, stride = f"stages.{stage}.0", 1 if stage == 0 else 2
        y = jax.nn.relu(norm(conv(x, p[f"{block}.conv1.weight"], stride, 1), f"{block}.bn1"))
        y = norm(conv(y, p[f"{block}.conv2.weight"], 1, 1), f"{block}.bn2")
        if stride != 1:
            x = norm(conv(x, p[f"{block}.downsample.0.weight"], stride), f"{block}.downsample.1")
        x = jax.nn.relu(x + y)
    return x.mean((1, 2)) @ p["fc.weight"].T + p["fc.bias"]


def lstm(p: Any, x: Any) -> Any:
    import jax
    import jax.numpy as jnp
    from jax import lax

    name = "recurrent."
    inputs = jnp.swapaxes(x, 0, 1) @ p[name + "weight_ih_l0"].T + p[name + "bias_ih_l0"] + p[name + "bias_hh_l0"]
    weight = p[name + "weight_hh_l0"].T

    def step(state: Any, z: Any) -> Any:
        h, c = state
        i, f, g, o = jnp.split(z + h @ weight, 4, 1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

    zeros = jnp.zeros((len(x), 128))
    (h, _), _ = lax.scan(step, (zeros, zeros), inputs)
    return h @ p["head.weight"].T + p["head.bias"]


def gpt(p: Any, indices: Any) -> Any:
    import jax
    import jax.numpy as jnp

    def norm(x: Any, name: str) -> Any:
        mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        return (x - mean) * jax.lax.rsqrt(var + 1e-5) * p[f"{name}.weight"] + p[f"{name}.bias"]

    def dense(x: Any, name: str) -> Any:
        return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]

    body = "gpt.transformer"
    x = p[f"{body}.wte.weight"][indices] + p[f"{body}.wpe.weight"][: indices.shape[1]]
    batch, time, width = x.shape
    allowed = jnp.tril(jnp.ones((time, time), bool))
    for layer in range(4):
        block = f"{body}.h.{layer}"
        parts = dense(norm(x, f"{block}.ln_1"), f"{block}.attn.c_attn").reshape(batch, time, 3, 4, width // 4)
        query, key, value = (parts[:, :, i] for i in range(3))
        scores = jnp.einsum("bthd,bshd->bhts", query, key) / np.sqrt(width // 4)
        weights = jax.nn.softmax(jnp.where(allowed, scores, -1e30), -1)
        y = jnp.einsum("bhts,bshd->bthd", weights, value).reshape(batch, time, width)
        x = x + dense(y, f"{block}.attn.c_proj")
        x = x + dense(jax.nn.gelu(dense(norm(x, f"{block}.ln_2"), f"{block}.mlp.c_fc")), f"{block}.mlp.c_proj")
    return (norm(x, f"{body}.ln_f") @ p[f"{body}.wte.weight"].T).reshape(batch * time, -1)


def sklearn_step(model: nn.Module, x: np.ndarray, y: np.ndarray, classes: int) -> Step:
    """`partial_fit` on the whole batch, from the first values of a perceptron."""
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    weights = [p.data for _, p in model.named_parameters()]
    hidden = tuple(len(bias) for bias in weights[1:-1:2])
    kind = MLPClassifier if classes else MLPRegressor
    learner = kind(hidden_layer_sizes=hidden, alpha=0, batch_size=len(x), learning_rate_init=1e-3)
    target = y if classes else y[:, 0]
    options = {"classes": np.arange(classes)} if classes else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        learner.partial_fit(x, target, **options)
    for i, weight in enumerate(weights[::2]):
        learner.coefs_[i][...] = weight.T
        learner.intercepts_[i][...] = weights[2 * i + 1]

    def step() -> float:
        learner.partial_fit(x, target)
        return float(learner.loss_) * (1 if classes else 2)  # it halves squared errors

    return step
