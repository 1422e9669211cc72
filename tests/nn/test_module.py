"""Modules: walks, updates, freezing, files, and gradients by parameters."""

import copy
import pickle
import subprocess
import sys

import mlx.core
import mlx.nn
import numpy as np
import pytest

import bridge as mx
from bridge import nn
from bridge.utils import tree_flatten, tree_map


def net(library):
    """A module with everything that a module may hold: parts, lists, dictionaries, hidden and plain attributes."""

    class Net(library.Module):
        def __init__(self):
            super().__init__()
            self.first = library.Linear(3, 4)
            self.parts = [
                library.Linear(4, 4, bias=False),
                {"deep": library.Sequential(library.ReLU(), library.Linear(4, 2))},
            ]
            self.norm = library.BatchNorm(2)
            self.scales = [array(library)([1.0, 2.0]), array(library)([3.0])]
            self._hidden = array(library)([5.0])
            self.size = 3

        def __call__(self, x):
            x = self.parts[0](self.first(x))
            return self.norm(self.parts[1]["deep"](x)) * self.scales[0] * self.scales[1]

    return Net()


def array(library):
    return mx.array if library is nn else mlx.core.array


def paths(tree):
    return [path for path, _ in tree_flatten(tree)]


WALKS = {
    "parameters": lambda m: paths(m.parameters()),
    "trainable_parameters": lambda m: paths(m.trainable_parameters()),
    "modules": lambda m: [type(one).__name__ for one in m.modules()],
    "named_modules": lambda m: [(path, type(one).__name__) for path, one in m.named_modules()],
    "children": lambda m: [(p, type(one).__name__) for p, one in tree_flatten(m.children(), is_leaf=m.is_module)],
    "leaf_modules": lambda m: [
        (p, type(one).__name__) for p, one in tree_flatten(m.leaf_modules(), is_leaf=m.is_module)
    ],
    "state": lambda m: list(m.state),
    "repr": repr,
}
SETTINGS = {
    "as made": lambda m: m,
    "frozen": lambda m: m.freeze(),
    "frozen here": lambda m: m.freeze(recurse=False),
    "frozen biases": lambda m: m.freeze(keys="bias"),
    "only biases": lambda m: m.freeze().unfreeze(keys=["bias"]),
    "frozen list": lambda m: m.freeze(keys=["scales.0", "weight"]),
    "in evaluation": lambda m: m.eval(),
    "without": lambda m: delattr(m, "first") or m,
    "overwritten": lambda m: setattr(m, "size", array(nn if isinstance(m, nn.Module) else mlx.nn)([1.0])) or m,
    "swapped": lambda m: m.update_modules(
        {"first": (nn if isinstance(m, nn.Module) else mlx.nn).Linear(3, 4, bias=False)}
    ),
}


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("walk", WALKS)
def test_walks_give_what_mlx_gives(walk, setting):
    """Names, order and structure of every walk are those of mlx.nn, in every setting."""
    ours, theirs = (WALKS[walk](SETTINGS[setting](net(library))) for library in (nn, mlx.nn))
    assert ours == theirs


def test_training_mode_reaches_every_module():
    """`eval` and `train` switch all modules, also those in lists and dictionaries."""
    model = net(nn).eval()
    assert not any(one.training for one in model.modules())
    assert all(one.training for one in model.train().modules())


def test_running_statistics_stay_frozen():
    """`unfreeze` of a whole model leaves the running statistics of a BatchNorm frozen."""
    model = net(nn).freeze().unfreeze()
    assert [path for path in paths(model.trainable_parameters()) if "running" in path] == []


def test_strict_freezing_wants_the_name_somewhere():
    """A name that no module has is a KeyError only if strict."""
    model = net(nn).freeze(keys="bias", strict=True)
    with pytest.raises(KeyError, match="beta"):
        model.freeze(keys="beta", strict=True)


def test_apply_maps_every_parameter():
    """`apply` puts the result of the function in the place of each parameter, frozen or hidden in a list."""
    model = net(nn).apply(lambda a: mx.zeros_like(a))
    assert all((np.asarray(a) == 0).all() for _, a in tree_flatten(model.parameters()))


def test_set_dtype_converts_floating_parameters():
    """Integers keep their dtype, unless the predicate is None."""
    model = nn.Linear(2, 2)
    model.table = mx.array([1, 2])
    model.set_dtype(mx.bfloat16)
    assert (model.weight.dtype, model.table.dtype) == (mx.bfloat16, mx.int32)
    model.set_dtype(mx.float16, None)
    assert model.table.dtype == mx.float16


def test_a_module_without_an_attribute_says_so():
    """An unknown attribute is an AttributeError that names it."""
    with pytest.raises(AttributeError, match="wieght"):
        nn.Linear(2, 2).wieght  # noqa: B018


WRONG = [
    (lambda m: m.update({"frist": {}}), "frist"),
    (lambda m: m.update({"first": {"weight": 3}}), "int"),
    (lambda m: m.update({"scales": [mx.zeros(2)] * 3}), "2 entries"),
    (lambda m: m.update_modules({"first": mx.zeros(3)}), "array"),
    (lambda m: m.update_modules({"frist": nn.Identity()}), "frist"),
    (lambda m: m.load_weights([("first.weight", mx.zeros((4, 3)))]), "missing"),
    (lambda m: m.load_weights([*tree_flatten(m.parameters()), ("more", mx.zeros(1))]), "not in the model"),
    (lambda m: m.load_weights(tree_flatten(tree_map(lambda a: a[None], m.parameters()))), "another shape"),
    (lambda m: m.load_weights(tree_flatten(tree_map(np.asarray, m.parameters()))), "no array"),
    (lambda m: m.save_weights("weights.bin"), "extension"),
]


@pytest.mark.parametrize(("wrong", "words"), WRONG)
def test_strict_updates_want_what_is_there(wrong, words):
    """A name, position, type or shape that does not fit is a ValueError that tells it."""
    with pytest.raises(ValueError, match=words):
        wrong(net(nn))


def test_updates_that_are_not_strict_pass_over_the_rest():
    """Of an update with unknown entries only the known ones count."""
    model = nn.Linear(2, 1)
    model.update({"bias": mx.ones(1), "other": mx.ones(1)}, strict=False)
    model.load_weights([("weight", mx.ones((1, 2))), ("else", mx.ones(1))], strict=False)
    assert float(model(mx.ones(2))[0]) == 3


@pytest.mark.parametrize("extension", ["npz", "safetensors"])
@pytest.mark.parametrize("direction", ["here", "from mlx", "to mlx"])
def test_weights_go_to_a_file_and_back(tmp_path, extension, direction):
    """What one library saves the other loads, every parameter equal."""
    file = tmp_path / f"weights.{extension}"
    writer, reader = (
        net(library) for library in {"here": (nn, nn), "from mlx": (mlx.nn, nn), "to mlx": (nn, mlx.nn)}[direction]
    )
    writer.save_weights(str(file))
    assert reader.load_weights(str(file)) is reader
    for (path, a), (other, b) in zip(tree_flatten(writer.parameters()), tree_flatten(reader.parameters()), strict=True):
        assert path == other
        assert np.array_equal(np.array(a), np.array(b))


MEMORY = """
import sys
import bridge as mx
model = mx.nn.Sequential(*[mx.nn.Linear(1024, 1024) for _ in range(8)])
assert mx.get_peak_memory() < 100_000, mx.get_peak_memory()
model.load_weights(sys.argv[1])
assert model.layers[0].weight.dtype == mx.float16
mx.eval(model.parameters())
assert mx.get_peak_memory() < 100_000, mx.get_peak_memory()
"""


def test_loading_float16_weights_never_allocates_the_float32_ones(tmp_path):
    """Making the model computes nothing; its 32 MiB of random numbers are never drawn when a file takes their place."""
    model = nn.Sequential(*[nn.Linear(1024, 1024) for _ in range(8)])
    half = model.apply(lambda a: mx.zeros(a.shape, mx.float16))
    half.save_weights(str(tmp_path / "half.safetensors"))
    subprocess.run([sys.executable, "-c", MEMORY, str(tmp_path / "half.safetensors")], check=True)


def test_value_and_grad_follows_what_is_trainable():
    """The gradient has the structure of `trainable_parameters()`; the statistics of a BatchNorm move."""
    model, x = net(nn).freeze(keys="weight"), mx.array(np.eye(3, dtype=np.float32))
    value, gradient = nn.value_and_grad(model, lambda x: (model(x) ** 2).sum())(x)
    assert value.shape == ()
    assert paths(gradient) == paths(model.trainable_parameters())
    assert np.asarray(model.norm.running_mean).any()


def test_value_and_grad_leaves_the_parameters_as_they_were():
    """The same arrays stand in the model after the call, also when the function raises."""
    model = nn.Linear(3, 2)
    before = dict(model)

    def wrong(x):
        raise RuntimeError("no loss")

    nn.value_and_grad(model, lambda x: model(x).sum())(mx.ones(3))
    with pytest.raises(RuntimeError, match="no loss"):
        nn.value_and_grad(model, wrong)(mx.ones(3))
    assert all(model[name] is before[name] for name in before)


def test_a_checkpointed_module_has_the_same_gradient():
    """`nn.utils.checkpoint` changes memory, not the gradient by the parameters."""
    model, x = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)), mx.ones((2, 3))
    again = nn.utils.checkpoint(model)
    plain = nn.value_and_grad(model, lambda x: model(x).sum())(x)[1]
    other = nn.value_and_grad(model, lambda x: again(x).sum())(x)[1]
    for (_, a), (_, b) in zip(tree_flatten(plain), tree_flatten(other), strict=True):
        assert np.array_equal(np.asarray(a), np.asarray(b))


def test_a_compiled_step_trains_the_state_of_a_module():
    """`compile` with the state as inputs and outputs gives what the plain steps give."""

    def train(compiled):
        mx.random.seed(1)
        model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.BatchNorm(8), nn.Linear(8, 1))
        x = mx.random.normal((16, 2))

        def step(x):
            loss, gradient = nn.value_and_grad(model, lambda x: ((model(x)[:, 0] - x[:, 0]) ** 2).mean())(x)
            model.update(tree_map(lambda p, g: p - 0.1 * g, model.trainable_parameters(), gradient))
            return loss

        if compiled:
            step = mx.compile(step, inputs=[model.state], outputs=[model.state])
        return [float(step(x)) for _ in range(5)]

    plain, compiled = train(False), train(True)
    np.testing.assert_allclose(compiled, plain, rtol=1e-5)
    assert plain[-1] < plain[0]


def test_a_model_can_be_mapped_over_its_weights():
    """vmap over a stack of weights gives what the models give one after the other."""
    model = nn.Linear(3, 2)
    stacked = tree_map(lambda a: mx.stack([a, 2 * a]), model.parameters())

    def call(parameters, x):
        return model.update(parameters)(x)

    both = mx.vmap(call, in_axes=(0, None))(stacked, mx.ones(3))
    np.testing.assert_allclose(np.asarray(both[1]), 2 * np.asarray(both[0]), rtol=1e-5)


@pytest.mark.parametrize("again", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"])
def test_a_copy_has_weights_of_its_own(again):
    """deepcopy and pickle keep structure, values, mode and what is frozen; the copy changes alone."""
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm(3)).freeze(keys="bias").eval()
    other = again(model)
    assert repr(other) == repr(model)
    assert not other.layers[1].training
    assert paths(other.trainable_parameters()) == paths(model.trainable_parameters())
    before = np.array(model.layers[0].weight)
    assert np.array_equal(np.asarray(other.layers[0].weight), before)
    other.layers[0].weight[0] = 9
    assert np.array_equal(np.asarray(model.layers[0].weight), before)


def test_importing_bridge_imports_no_layers():
    """`bridge.nn` and `bridge.utils` are imported when they are first used."""
    none = "assert not {'bridge.nn', 'bridge.utils'} & set(sys.modules)"
    code = f"import sys, bridge; {none}; bridge.nn.Linear; bridge.utils.tree_map"
    subprocess.run([sys.executable, "-c", code], check=True)
