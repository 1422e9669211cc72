"""One model in three frameworks: handwritten digits through a layer of torch, one of bridge and one of jax.

Each layer is an ordinary function of its framework. `bridge.wrap` brings the foreign ones into bridge, and
`bridge.value_and_grad` asks torch.autograd and jax.vjp for their part of the gradient. The gradient is compared with
that of the same model written in bridge alone, after one step and at the end.

    python examples/three_frameworks.py

Exit status 0: the loss fell to a tenth, and the gradients agree to 1e-5. Needs the `demo` extra.
"""

import sys
from functools import partial

import jax
import numpy as np
import torch

import bridge as mx

SEED = 0
STEPS = 100
RATE = 0.5
TOLERANCE = 1e-5  # of the largest entry of a gradient: float32 sums in different orders


def load():
    """The digits of scikit-learn: images float32[1797, 64] with values 0 to 1, labels one-hot float32[1797, 10]."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    return mx.array((digits.data / 16).astype(np.float32)), mx.array(np.eye(10, dtype=np.float32)[digits.target])


def initial():
    """Weights and biases of the layers 64-48-32-10."""
    rng = np.random.default_rng(SEED)

    def layer(n, m):
        return {
            "w": mx.array((rng.standard_normal((n, m)) / np.sqrt(n)).astype(np.float32)),
            "b": mx.zeros((m,)),
        }

    return [layer(64, 48), layer(48, 32), layer(32, 10)]


@partial(mx.wrap, "torch")
def first(p, x):
    return torch.tanh(x @ p["w"] + p["b"])


def second(p, x):
    return mx.tanh(x @ p["w"] + p["b"])


@partial(mx.wrap, "jax")
def third(p, x):
    return jax.nn.log_softmax(x @ p["w"] + p["b"])


def mixed(layers, x):
    """The logarithms of the probabilities of ten digits, float32[n, 10]."""
    return third(layers[2], second(layers[1], first(layers[0], x)))


def alone(layers, x):
    """The same in bridge alone."""
    last = layers[2]
    logits = second(layers[1], second(layers[0], x)) @ last["w"] + last["b"]
    return logits - mx.logsumexp(logits, axis=1, keepdims=True)


def step_of(model):
    """The loss and its gradient, as a function of the layers and the data."""
    return mx.value_and_grad(lambda layers, x, y: -(model(layers, x) * y).sum(axis=1).mean())


def train(model, steps):
    """Losses, and the layers after as many steps of gradient descent."""
    (x, y), layers, losses = load(), initial(), []
    step = step_of(model)
    for _ in range(steps):
        loss, gradient = step(layers, x, y)
        layers = [{k: p[k] - RATE * g[k] for k in p} for p, g in zip(layers, gradient, strict=True)]
        mx.eval(layers)
        losses.append(loss.item())
    return losses, layers


def difference(layers):
    """The largest difference between the gradients of the two models, relative to the largest entry of each array."""
    x, y = load()
    worst = 0.0
    for ours, theirs in zip(step_of(mixed)(layers, x, y)[1], step_of(alone)(layers, x, y)[1], strict=True):
        for k in ours:
            a, b = np.asarray(ours[k]), np.asarray(theirs[k])
            worst = max(worst, float(np.abs(a - b).max() / np.abs(b).max()))
    return worst


def main():
    losses, layers = train(mixed, STEPS)
    after = {1: difference(train(mixed, 1)[1]), STEPS: difference(layers)}
    print(f"loss {losses[0]:.4f} -> {losses[-1]:.4f} in {STEPS} steps")
    for steps, worst in after.items():
        print(f"after step {steps} the gradients of the two models differ by {worst:.1e}")
    return 0 if losses[-1] < losses[0] / 10 and max(after.values()) < TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main())
