"""Handwritten digits: NumPy loads, bridge prepares, torch trains, JAX evaluates, TensorFlow serves.

Every hand-over is one call, `bridge.to(target, value)`, and shares the bytes unless a rule forbids it. The receipt at
the end lists each of them: from, to, by which route, shared or copied, and why.

    python examples/mixed_pipeline.py [--html receipt.html]

Exit status 0: the test accuracy is at least 0.95 and the three frameworks agree. Needs the `demo` extra.
"""

import argparse
import os
import sys
from pathlib import Path

import numpy as np

import bridge

SEED = 0
TRAINING_IMAGES = 1347  # three quarters of the 1,797
EPOCHS = 20
BATCH = 128
ACCURACY = 0.95
TOLERANCE = 1e-5  # of the largest logit: float32 sums of at most 128 terms, added in different orders


def load():
    """The digits of scikit-learn, shuffled and split: (images, labels) to train on, (images, labels) to test on.

    Images are float64[n, 8, 8] with values 0 to 16, labels int64[n]; all four are NumPy arrays.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.default_rng(SEED).permutation(len(digits.target))
    training, test = order[:TRAINING_IMAGES], order[TRAINING_IMAGES:]
    return (digits.images[training], digits.target[training]), (digits.images[test], digits.target[test])


def augment(images):
    """The images, and the same moved one pixel up, down, left and right: bridge array [5 n, 8, 8]."""
    row, column = bridge.zeros_like(images[:, :1]), bridge.zeros_like(images[:, :, :1])
    up = bridge.concatenate([images[:, 1:], row], axis=1)
    down = bridge.concatenate([row, images[:, :-1]], axis=1)
    left = bridge.concatenate([images[:, :, 1:], column], axis=2)
    right = bridge.concatenate([column, images[:, :, :-1]], axis=2)
    return bridge.concatenate([images, up, down, left, right])


def normalise(images, *, like):
    """Images less the mean of the images `like`, over their deviation: float32[n, 64], not computed yet."""
    pixels, reference = images.astype(bridge.float32), like.astype(bridge.float32)
    mean = reference.mean()
    deviation = bridge.sqrt(bridge.square(reference - mean).mean())
    return ((pixels - mean) / deviation).reshape(-1, 64)


def train_in_torch(images, labels):
    """A classifier trained on torch tensors: images float32[n, 64], labels int64[n]."""
    import torch

    torch.manual_seed(SEED)
    layers = {"hidden": torch.nn.Linear(64, 128), "relu": torch.nn.ReLU(), "output": torch.nn.Linear(128, 10)}
    model = torch.nn.Sequential()
    for name, layer in layers.items():
        model.add_module(name, layer)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for epoch in range(1, EPOCHS + 1):
        order = torch.randperm(len(images))
        total = 0.0
        for batch in order.split(BATCH):
            loss = torch.nn.functional.cross_entropy(model(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
        print(f"  epoch {epoch:2d}/{EPOCHS}  {'#' * epoch:{EPOCHS}s}  loss {total / len(images):.4f}", flush=True)
    return model


def evaluate_in_jax(weights, images):
    """Logits float32[n, 10] of the classifier, by a function compiled with jax.jit."""
    import jax

    @jax.jit
    def logits(weights, images):
        hidden = jax.nn.relu(images @ weights["hidden.weight"].T + weights["hidden.bias"])
        return hidden @ weights["output.weight"].T + weights["output.bias"]

    return logits(weights, images)


def serve_from_tensorflow(weights, images):
    """Logits float32[n, 10] of the classifier, by a tf.function."""
    import tensorflow as tf

    @tf.function
    def serve(images):
        hidden = tf.nn.relu(tf.matmul(images, weights["hidden.weight"], transpose_b=True) + weights["hidden.bias"])
        return tf.matmul(hidden, weights["output.weight"], transpose_b=True) + weights["output.bias"]

    return serve(images)


def pipeline():
    """Run it all; returns (test accuracy by framework, largest disagreement relative to the largest logit)."""
    import torch

    (images, labels), (test_images, test_labels) = load()
    print(f"NumPy loaded {len(images)} images to train on and {len(test_images)} to test on")

    # The caller's promise not to write into these arrays keeps everything that reads them lazy.
    images, test_images = bridge.asarray(images, readonly=True), bridge.asarray(test_images, readonly=True)
    prepared = normalise(augment(images), like=images)
    test = normalise(test_images, like=images)
    print(f"bridge prepared {prepared.shape[0]} images (lazily: they are computed when torch asks for them)")

    print("torch trains on bridge's memory")
    model = train_in_torch(bridge.to("torch", prepared), bridge.to("torch", np.tile(labels, 5)))
    weights = dict(model.state_dict())

    # One array goes all the way round: bridge -> torch -> JAX -> TensorFlow.
    torch_test = bridge.to("torch", test)
    jax_test = bridge.to("jax", torch_test)
    tensorflow_test = bridge.to("tensorflow", jax_test)
    with torch.no_grad():
        answers = {"torch": model(torch_test)}
    answers["jax"] = evaluate_in_jax(bridge.to("jax", weights), jax_test)
    answers["tensorflow"] = serve_from_tensorflow(bridge.to("tensorflow", weights), tensorflow_test)

    logits = {name: bridge.from_(answer) for name, answer in answers.items()}
    truth = bridge.from_(test_labels)
    accuracy = {name: (bridge.argmax(value, axis=1) == truth).mean().item() for name, value in logits.items()}
    reference = logits["torch"]
    distances = [bridge.abs(value - reference).max().item() for value in logits.values()]
    return accuracy, max(distances) / bridge.abs(reference).max().item()


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--html", type=Path, metavar="FILE", help="write the receipt as a page")
    arguments = parser.parse_args()

    with bridge.record() as receipt:
        accuracy, disagreement = pipeline()

    print("\ntest accuracy: " + ", ".join(f"{name} {value:.4f}" for name, value in accuracy.items()))
    print(f"largest disagreement: {disagreement:.1e} of the largest logit (allowed: {TOLERANCE:.0e})\n")
    print(receipt)
    print(f"bytes copied in all: {receipt.bytes_copied:,}")
    if arguments.html:
        arguments.html.write_text(receipt.html(), encoding="utf-8")
        print(f"the same as a page: {arguments.html}")
    return 0 if min(accuracy.values()) >= ACCURACY and disagreement <= TOLERANCE else 1


if __name__ == "__main__":
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # one order of summation on every machine, and no greeting
    sys.exit(main())
