"""Layers and activations agree with mlx.nn: constructor, repr, parameters, and the result for the same weights."""

import inspect

import mlx.core
import mlx.nn
import numpy as np
import pytest

import bridge as mx
from bridge import nn
from bridge.utils import tree_flatten, tree_unflatten

EPS = np.finfo(np.float32).eps

# What MLX has and bridge does not: quantised and distributed layers, and the modules that its files are.
LEFT_OUT = {
    *("QQLinear", "QuantizedEmbedding", "QuantizedLinear", "quantize"),
    *("AllToShardedLinear", "FullyShardedModule", "QuantizedAllToShardedLinear", "QuantizedShardedToAllLinear"),
    *("ShardedToAllLinear", "average_gradients", "fully_shard", "layers"),
}
NAMES = sorted(
    name
    for name, value in vars(mlx.nn).items()
    if not name.startswith("_") and name not in LEFT_OUT and (callable(value) or name in ("init", "losses", "utils"))
)
FUNCTIONS = [name for name in NAMES if name[0].islower() and hasattr(nn.activations, name)]
LAYERS = [name for name in NAMES if name[0].isupper()]


def data(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def ids(*shape):
    return np.random.default_rng(1).integers(0, 5, shape).astype(np.int32)


X, IMAGE, VOLUME = data(2, 6, 4), data(2, 7, 8, 4), data(2, 5, 6, 4, 4)

# (layer, constructor's positional arguments, keywords, inputs)
CASES = [
    ("Identity", (), {}, [X]),
    ("Linear", (4, 3), {}, [X]),
    ("Linear", (4, 3), {}, [X[0, 0]]),
    ("Linear", (4, 3), {"bias": False}, [X]),
    ("Bilinear", (4, 5, 3), {}, [X, data(2, 6, 5)]),
    ("Bilinear", (4, 5, 3), {"bias": False}, [X, data(2, 6, 5)]),
    ("Embedding", (5, 3), {}, [ids(2, 3)]),
    ("Conv1d", (4, 6, 3), {"stride": 2, "padding": 1, "groups": 2}, [X]),
    ("Conv1d", (4, 6, 3), {"dilation": 2, "bias": False}, [X]),
    ("Conv2d", (4, 6, 3), {"stride": (1, 2), "padding": (2, 1), "groups": 2}, [IMAGE]),
    ("Conv2d", (4, 6, (3, 2)), {"dilation": 2}, [IMAGE]),
    ("Conv3d", (4, 2, 3), {"stride": 2, "padding": 1}, [VOLUME]),
    ("ConvTranspose1d", (4, 6, 3), {"stride": 2, "padding": 1, "output_padding": 1}, [X]),
    ("ConvTranspose2d", (4, 6, 3), {"stride": (1, 2), "padding": (2, 1)}, [IMAGE]),
    ("ConvTranspose3d", (4, 2, 3), {"stride": 2, "padding": 1, "bias": False}, [VOLUME]),
    ("LayerNorm", (4,), {}, [X]),
    ("LayerNorm", (4,), {"affine": False}, [X]),
    ("LayerNorm", (4,), {"bias": False}, [X]),
    ("RMSNorm", (4,), {}, [X]),
    ("GroupNorm", (2, 4), {}, [IMAGE]),
    ("GroupNorm", (2, 4), {"pytorch_compatible": True}, [IMAGE]),
    ("GroupNorm", (2, 4), {"affine": False}, [X]),
    ("InstanceNorm", (4,), {}, [IMAGE]),
    ("InstanceNorm", (4,), {"affine": True}, [X]),
    ("BatchNorm", (4,), {}, [X]),
    ("BatchNorm", (4,), {"affine": False, "track_running_stats": False}, [IMAGE]),
    ("MaxPool1d", (2,), {}, [X]),
    ("MaxPool1d", (3,), {"stride": 2, "padding": 1}, [X]),
    ("MaxPool2d", (3,), {"stride": (2, 1), "padding": (1, 0)}, [IMAGE]),
    ("MaxPool3d", (2,), {"stride": 1}, [VOLUME]),
    ("AvgPool1d", (3,), {"padding": 1}, [X]),
    ("AvgPool2d", ((7, 4),), {}, [IMAGE]),
    ("AvgPool3d", (2,), {"padding": 1}, [VOLUME]),
    ("RNN", (4, 3), {}, [X]),
    ("RNN", (4, 3), {"bias": False}, [X, data(2, 3)]),
    ("GRU", (4, 3), {}, [X]),
    ("GRU", (4, 3), {}, [X, data(2, 3)]),
    ("GRU", (4, 3), {"bias": False}, [X]),
    ("LSTM", (4, 3), {}, [X]),
    ("LSTM", (4, 3), {"bias": False}, [X, data(2, 3), data(2, 3, seed=2)]),
    ("MultiHeadAttention", (4, 2), {"bias": True}, [X, X, X]),
    (
        "MultiHeadAttention",
        (4, 2, 6, 8),
        {"value_dims": 2, "value_output_dims": 5},
        [data(2, 3, 6), *[data(2, 5, 8)] * 2],
    ),
    ("TransformerEncoderLayer", (4, 2), {}, [X, None]),
    ("TransformerEncoder", (2, 4, 2), {"norm_first": False, "checkpoint": True}, [X, None]),
    ("TransformerDecoderLayer", (4, 2), {"mlp_dims": 3}, [X, data(2, 3, 4), None, None]),
    ("TransformerDecoder", (2, 4, 2), {"norm_first": False}, [X, data(2, 3, 4), None, None]),
    ("Transformer", (4, 2, 1, 1), {}, [X, data(2, 3, 4), None, None, None]),
    ("RoPE", (4,), {}, [X]),
    ("RoPE", (2,), {"traditional": True, "base": 100, "scale": 0.5}, [X, 3]),
    ("SinusoidalPositionalEncoding", (6,), {}, [np.arange(5, dtype=np.float32)]),
    ("SinusoidalPositionalEncoding", (2,), {"cos_first": True, "full_turns": True, "scale": 1}, [data(3)]),
    ("ALiBi", (), {}, [data(1, 4, 3, 5)]),
    ("ALiBi", (), {}, [data(1, 6, 3, 5), 2, data(3, 5)]),
    ("Upsample", (2,), {}, [IMAGE]),
    ("Upsample", ((1.5, 0.5),), {}, [IMAGE]),
    ("Upsample", (2,), {"mode": "linear"}, [IMAGE]),
    ("Upsample", (1.7,), {"mode": "linear", "align_corners": True}, [IMAGE]),
    ("Upsample", (0.5,), {"mode": "linear", "antialias": True}, [IMAGE]),
    ("Upsample", (1.5,), {"mode": "cubic"}, [X]),
    ("Upsample", (2,), {"mode": "cubic", "align_corners": True}, [IMAGE]),
    ("Upsample", (0.4,), {"mode": "cubic", "antialias": True}, [IMAGE]),
    ("PReLU", (4,), {}, [X]),
    ("GLU", (), {"axis": 1}, [X]),
    ("GELU", ("tanh",), {}, [X]),
    ("GELU", ("fast",), {}, [X]),
    *[(name, (0.3,), {}, [X]) for name in ("LeakyReLU", "ELU", "CELU", "Softshrink", "HardShrink", "Step")],
    *[
        (name, (), {}, [X])
        for name in LAYERS
        if issubclass(getattr(mlx.nn, name), mlx.nn.Module)
        and hasattr(nn, name)
        and issubclass(getattr(nn, name), nn.activations._Activation)
    ],
]


def with_same_weights(name, args, keywords):
    """The layer of bridge and that of mlx, which has the weights of the first."""
    ours, theirs = getattr(nn, name)(*args, **keywords), getattr(mlx.nn, name)(*args, **keywords)
    weights = [(path, mlx.core.array(np.asarray(a))) for path, a in tree_flatten(ours.parameters())]
    theirs.load_weights(weights)
    return ours, theirs


def run(library, layer, inputs):
    results = layer(*[library.array(x) if isinstance(x, np.ndarray) else x for x in inputs])
    return [np.array(r) for r in (results if isinstance(results, tuple) else [results])]


@pytest.mark.parametrize("name", NAMES)
def test_every_name_of_mlx_is_there(name):
    """`bridge.nn` has each layer, function and module of `mlx.nn` without quantisation and distribution."""
    assert hasattr(nn, name)


@pytest.mark.parametrize("name", LAYERS)
def test_constructors_take_the_arguments_of_mlx(name):
    """Names, order and defaults of a constructor's arguments are those of mlx.nn."""

    def arguments(cls):
        return [
            (p.name, p.kind, p.default if not callable(p.default) else None)
            for p in inspect.signature(cls).parameters.values()
        ]

    assert arguments(getattr(nn, name)) == arguments(getattr(mlx.nn, name))


@pytest.mark.parametrize(("name", "args", "keywords", "inputs"), CASES)
def test_results_agree_with_mlx_for_the_same_weights(name, args, keywords, inputs):
    """Same parameters by name and shape, same results in training and out of it, same running statistics."""
    ours, theirs = with_same_weights(name, args, keywords)
    for mode in (True, False):
        for got, want in zip(run(mx, ours.train(mode), inputs), run(mlx.core, theirs.train(mode), inputs), strict=True):
            assert got.dtype == want.dtype
            np.testing.assert_allclose(got, want, rtol=64 * EPS, atol=64 * EPS * max(1, np.abs(want).max()))
    state = dict(mlx.utils.tree_flatten(theirs.parameters()))
    for path, value in tree_flatten(ours.parameters()):
        np.testing.assert_allclose(np.asarray(value), np.array(state[path]), rtol=64 * EPS, atol=EPS)


@pytest.mark.parametrize(("name", "args", "keywords", "inputs"), [c for c in CASES if c[0] != "RNN"])
def test_layers_are_told_as_in_mlx(name, args, keywords, inputs):
    """The repr is that of mlx.nn."""
    assert repr(getattr(nn, name)(*args, **keywords)) == repr(getattr(mlx.nn, name)(*args, **keywords))


@pytest.mark.parametrize(("name", "args", "keywords", "inputs"), CASES)
def test_float16_stays_what_it_is_in_mlx(name, args, keywords, inputs):
    """With weights and inputs of float16 the results have the dtype that mlx gives, and its values."""
    ours, theirs = with_same_weights(name, args, keywords)

    def half(library, layer):
        layer.set_dtype(library.float16)
        crossed = [library.array(x) if isinstance(x, np.ndarray) else x for x in inputs]
        given = [
            x.astype(library.float16) if isinstance(x, library.array) and x.dtype == library.float32 else x
            for x in crossed
        ]
        results = layer(*given)
        return [np.array(r) for r in (results if isinstance(results, tuple) else [results])]

    for got, want in zip(half(mx, ours), half(mlx.core, theirs), strict=True):
        assert got.dtype == want.dtype
        tolerance = 16 * np.finfo(np.float16).eps
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance * max(1, np.abs(want).max()))


GRADIENTS = ["Linear", "Conv2d", "ConvTranspose1d", "LayerNorm", "BatchNorm", "MaxPool2d", "AvgPool3d", "GRU", "LSTM"]
GRADIENTS += ["TransformerEncoder", "Upsample", "Embedding", "MultiHeadAttention"]


@pytest.mark.parametrize(("name", "args", "keywords", "inputs"), [c for c in CASES if c[0] in GRADIENTS])
def test_gradients_agree_with_mlx(name, args, keywords, inputs):
    """The gradient of the mean square by the parameters and by the first input is that of mlx."""
    ours, theirs = with_same_weights(name, args, keywords)
    floating = inputs[0].dtype == np.float32

    def gradients(library, module, layer):
        given = [library.array(x) if isinstance(x, np.ndarray) else x for x in inputs]

        def loss(first):
            result = layer(first, *given[1:])
            return ((result[0] if isinstance(result, tuple) else result) ** 2).mean()

        found = {}
        if layer.trainable_parameters():  # mlx has no gradient by nothing
            found = dict(mlx.utils.tree_flatten(module.value_and_grad(layer, loss)(given[0])[1]))
        if floating:
            found["input"] = library.grad(loss)(given[0])
        return {path: np.array(a) for path, a in found.items()}

    got, want = gradients(mx, nn, ours), gradients(mlx.core, mlx.nn, theirs)
    assert got.keys() == want.keys()
    for path, value in want.items():
        np.testing.assert_allclose(got[path], value, rtol=1024 * EPS, atol=256 * EPS * max(1, np.abs(value).max()))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_activations_agree_with_mlx(name):
    """Functions of one array give the values and dtype that mlx.nn gives, from -8 to 8."""
    x = np.linspace(-8, 8, 64, dtype=np.float32).reshape(8, 8)
    alpha = {"prelu": [np.float32(0.2)]}.get(name, [])
    got = np.array(getattr(nn, name)(mx.array(x), *map(mx.array, alpha)))
    want = np.array(getattr(mlx.nn, name)(mlx.core.array(x), *map(mlx.core.array, alpha)))
    assert got.dtype == want.dtype
    np.testing.assert_allclose(got, want, rtol=32 * EPS, atol=16 * EPS)


@pytest.mark.parametrize(
    ("name", "shape", "together"),
    [("Dropout", (50, 40), 0), ("Dropout2d", (20, 3, 4, 30), 2), ("Dropout3d", (20, 2, 3, 4, 30), 3)],
)
def test_dropout_decides_for_channels_together(name, shape, together):
    """In training a channel is all zeros or divided by 1 - p, about p of them zeros; else nothing changes."""
    mx.random.seed(3)
    layer, x = getattr(nn, name)(0.25), mx.ones(shape)
    y = np.asarray(layer(x))
    channels = np.moveaxis(y, -1, 1).reshape(-1, int(np.prod(shape[-1 - together : -1]) if together else 1))
    assert np.all((channels == channels[:, :1]).all(1))
    np.testing.assert_allclose(np.unique(y), [0, 1 / 0.75], rtol=4 * EPS)
    assert abs((y == 0).mean() - 0.25) < 0.08
    assert mx.array_equal(layer.eval()(x), x)


def test_as_linear_shares_the_weight_of_the_embedding():
    """`Embedding.as_linear` multiplies by the same matrix that is looked up."""
    layer = nn.Embedding(5, 3)
    np.testing.assert_allclose(
        np.asarray(layer.as_linear(layer.weight)), np.asarray(layer.weight @ layer.weight.T), rtol=8 * EPS
    )


def test_the_causal_mask_hides_later_keys():
    """0 up to the diagonal, the least finite number above it, as in mlx."""
    got = nn.MultiHeadAttention.create_additive_causal_mask(4, mx.float16)
    want = mlx.nn.MultiHeadAttention.create_additive_causal_mask(4, mlx.core.float16)
    assert np.array_equal(np.asarray(got), np.array(want))


REFUSED = [
    (lambda: nn.Conv2d(3, 4, 3, groups=2), "evenly"),
    (lambda: nn.GroupNorm(3, 4), "evenly"),
    (lambda: nn.LayerNorm(4, eps=0), "positive"),
    (lambda: nn.Dropout(1.0), "probability"),
    (lambda: nn.MaxPool2d(0), "kernel_size"),
    (lambda: nn.AvgPool1d(2, stride=(1, 1)), "stride"),
    (lambda: nn.MaxPool2d(2)(mx.zeros((1, 4, 2))), "4 axes"),
    (lambda: nn.BatchNorm(3)(mx.zeros((1, 3))), "variance"),
    (lambda: nn.BatchNorm(3)(mx.zeros(3)), "axes"),
    (lambda: nn.InstanceNorm(3)(mx.zeros((2, 3))), "axes"),
    (lambda: nn.MultiHeadAttention(5, 2), "evenly"),
    (lambda: nn.SinusoidalPositionalEncoding(3), "even"),
    (lambda: nn.Upsample(2, mode="cube"), "mode"),
    (lambda: nn.Upsample(2, antialias=True), "antialias"),
    (lambda: nn.Upsample((2, 2))(mx.zeros((1, 4, 2))), "4 axes"),
    (lambda: nn.GELU("slow"), "approx"),
    (lambda: nn.RNN(2, 3, nonlinearity="tanh"), "function"),
]


@pytest.mark.parametrize(("wrong", "words"), REFUSED)
def test_what_does_not_fit_raises(wrong, words):
    """A setting or shape that makes no sense is a ValueError that says what is wanted."""
    with pytest.raises(ValueError, match=words):
        wrong()


def test_quantised_layers_are_not_there():
    """A quantised layer is an AttributeError, not a stub."""
    with pytest.raises(AttributeError, match="QuantizedLinear"):
        nn.QuantizedLinear  # noqa: B018


INITIALISERS = [
    ("constant", (2.0,)),
    ("normal", ()),
    ("uniform", ()),
    ("identity", ()),
    ("glorot_normal", ()),
    ("glorot_uniform", ()),
    ("he_normal", ()),
    ("he_uniform", ()),
    ("sparse", (0.5,)),
    ("orthogonal", (2.0,)),
]


@pytest.mark.parametrize(("name", "args"), INITIALISERS)
def test_initialisers_draw_from_the_law_of_mlx(name, args):
    """Shape, dtype, mean, spread and extremes over 40,000 numbers are those of mlx.nn.init."""
    mx.random.seed(5)
    mlx.core.random.seed(5)
    got = np.asarray(getattr(nn.init, name)(*args)(mx.zeros((200, 200))))
    want = np.array(getattr(mlx.nn.init, name)(*args)(mlx.core.zeros((200, 200))))
    assert (got.shape, got.dtype) == (want.shape, want.dtype)
    spread = want.std()
    np.testing.assert_allclose(
        [got.mean(), got.std(), (got == 0).mean()],
        [want.mean(), spread, (want == 0).mean()],
        rtol=0.03,
        atol=0.03 * spread,
    )


def test_orthogonal_rows_are_orthonormal():
    """`orthogonal` gives a matrix whose fewer side is orthonormal."""
    q = np.asarray(nn.init.orthogonal()(mx.zeros((3, 5))))
    np.testing.assert_allclose(q @ q.T, np.eye(3), atol=16 * EPS)


def test_a_sparse_row_has_as_many_zeros_as_asked_for():
    """`sparse(0.3)` of 10 columns: 3 zeros in every row."""
    assert (np.asarray(nn.init.sparse(0.3)(mx.zeros((6, 10)))) == 0).sum(1).tolist() == [3] * 6


def test_parameters_make_a_tree_that_can_be_flattened_and_back():
    """Lists of layers are lists in the tree."""
    tree = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1)).parameters()
    assert tree_unflatten(tree_flatten(tree)).keys() == tree.keys()
