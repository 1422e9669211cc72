"""Losses agree with mlx.nn.losses."""

import inspect

import mlx.core
import mlx.nn
import numpy as np
import pytest

import bridge as mx
from bridge import nn

EPS = np.finfo(np.float32).eps
RNG = np.random.default_rng(7)
A, B, C = (RNG.standard_normal((4, 5), dtype=np.float32) for _ in range(3))
P = RNG.uniform(0.05, 0.95, (4, 5)).astype(np.float32)
CLASSES = np.array([0, 4, 2, 1], np.int32)
SIGNS = np.sign(C)

CASES = [
    ("cross_entropy", (A, CLASSES), {}),
    ("cross_entropy", (A, CLASSES), {"label_smoothing": 0.2, "weights": np.arange(4, dtype=np.float32)}),
    ("cross_entropy", (A, P), {}),
    ("cross_entropy", (A, P), {"label_smoothing": 0.1}),
    ("cross_entropy", (A.T.copy(), CLASSES), {"axis": 0}),
    ("binary_cross_entropy", (A, P), {}),
    ("binary_cross_entropy", (P, SIGNS > 0), {"with_logits": False, "weights": P}),
    ("l1_loss", (A, B), {}),
    ("mse_loss", (A, B), {}),
    ("nll_loss", (A, CLASSES), {}),
    ("gaussian_nll_loss", (A, B, P), {}),
    ("gaussian_nll_loss", (A, B, P), {"full": True, "eps": 0.5}),
    ("kl_div_loss", (A, B), {"axis": 0}),
    ("smooth_l1_loss", (A, B), {"beta": 0.7}),
    ("triplet_loss", (A, B, C), {"margin": 0.3}),
    ("triplet_loss", (A, B, C), {"p": 3, "axis": 0}),
    ("hinge_loss", (A, SIGNS), {}),
    ("huber_loss", (A, B), {"delta": 0.4}),
    ("log_cosh_loss", (A, B), {}),
    ("cosine_similarity_loss", (A, B), {}),
    ("margin_ranking_loss", (A, B, SIGNS), {"margin": 0.2}),
]


def crossed(library, values):
    return [library.array(v) if isinstance(v, np.ndarray) else v for v in values]


def call(library, losses, name, args, keywords, reduction):
    named = dict(zip(keywords, crossed(library, keywords.values()), strict=True))
    return np.array(getattr(losses, name)(*crossed(library, args), **named, reduction=reduction))


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize(("name", "args", "keywords"), CASES)
def test_losses_agree_with_mlx(name, args, keywords, reduction):
    """Value, shape and dtype are those of mlx for every reduction."""
    got = call(mx, nn.losses, name, args, keywords, reduction)
    want = call(mlx.core, mlx.nn.losses, name, args, keywords, reduction)
    assert (got.shape, got.dtype) == (want.shape, want.dtype)
    np.testing.assert_allclose(got, want, rtol=32 * EPS, atol=32 * EPS)


@pytest.mark.parametrize("name", nn.losses.__all__)
def test_losses_take_the_arguments_of_mlx(name):
    """Names, order and defaults of the arguments are those of mlx.nn.losses."""

    def arguments(module):
        return [(p.name, p.kind, p.default) for p in inspect.signature(getattr(module, name)).parameters.values()]

    assert arguments(nn.losses) == arguments(mlx.nn.losses)


def test_every_loss_of_mlx_is_there():
    """The public functions of mlx.nn.losses are those of bridge.nn.losses."""
    public = {n for n, f in vars(mlx.nn.losses).items() if inspect.isfunction(f) and not n.startswith("_")}
    assert public - {"get_args"} == set(nn.losses.__all__)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: nn.losses.mse_loss(mx.zeros(3), mx.zeros(4)), "do not match"),
        (lambda: nn.losses.cross_entropy(mx.zeros((3, 2)), mx.zeros(2, mx.int32)), "do not match"),
        (lambda: nn.losses.cross_entropy(mx.zeros((3, 2)), mx.zeros(3, mx.int32), weights=mx.ones(2)), "do not match"),
        (
            lambda: nn.losses.cross_entropy(mx.zeros((3, 2)), mx.zeros(3, mx.int32), label_smoothing=1),
            "label_smoothing",
        ),
        (lambda: nn.losses.l1_loss(mx.zeros(3), mx.zeros(3), reduction="max"), "reduction"),
    ],
)
def test_what_does_not_fit_raises(wrong, words):
    """Shapes that differ and settings that do not exist are a ValueError."""
    with pytest.raises(ValueError, match=words):
        wrong()
