"""Optimizers: MLX's numbers over 20 steps, trees, state, compilation, and what is refused."""

from __future__ import annotations

import inspect
from typing import Any

import mlx.core
import mlx.optimizers
import mlx.utils
import numpy as np
import pytest

import bridge as mx
import bridge.optimizers as optim
from bridge import utils

STEPS = 20

# name of the case: (class, arguments)
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "SGD": ("SGD", {"learning_rate": 0.1}),
    "SGD, momentum": ("SGD", {"learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.01, "dampening": 0.2}),
    "SGD, Nesterov": ("SGD", {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True}),
    "RMSprop": ("RMSprop", {"learning_rate": 0.01, "alpha": 0.9}),
    "Adagrad": ("Adagrad", {"learning_rate": 0.1}),
    "AdaDelta": ("AdaDelta", {"learning_rate": 1.0, "rho": 0.8}),
    "Adam": ("Adam", {"learning_rate": 0.01}),
    "Adam, corrected": ("Adam", {"learning_rate": 0.01, "betas": [0.8, 0.99], "bias_correction": True}),
    "AdamW": ("AdamW", {"learning_rate": 0.01, "weight_decay": 0.1}),
    "AdamW, corrected": ("AdamW", {"learning_rate": 0.01, "bias_correction": True}),
    "Adamax": ("Adamax", {"learning_rate": 0.01}),
    "Lion": ("Lion", {"learning_rate": 0.01}),
    "Lion, decay": ("Lion", {"learning_rate": 0.01, "weight_decay": 0.1}),
    "Adafactor": ("Adafactor", {}),
    "Adafactor, rate": (
        "Adafactor",
        {"learning_rate": 0.01, "relative_step": False, "beta_1": 0.9, "weight_decay": 0.01},
    ),
    "Adafactor, warm-up": ("Adafactor", {"warmup_init": True, "scale_parameter": False}),
    "Muon": ("Muon", {"learning_rate": 0.02}),
    "Muon, plain": ("Muon", {"learning_rate": 0.02, "nesterov": False, "weight_decay": 0.0, "ns_steps": 3}),
}
# Sums of many elements are rounded in another order; all other updates agree to the last bit or two.
TOLERANCE = {"Adafactor": 2e-6, "Muon": 2e-5}


def sample(seed: int) -> dict[str, Any]:
    """A nest of arrays with zero to four axes."""
    random = np.random.default_rng(seed)

    def one(*shape: int) -> np.ndarray:
        return random.normal(size=shape).astype(np.float32)

    return {
        "wide": one(4, 6),
        "tall": one(6, 4),
        "layers": [{"weight": one(3, 5), "bias": one(3)}, (one(3, 2, 2, 5), {"deep": [one(2)]})],
        "scale": one(),
    }


def arrays(tree: Any, dtype: Any = None) -> Any:
    """The same tree of bridge arrays."""
    return utils.tree_map(lambda one: mx.array(one, dtype), tree)


def listed(tree: Any) -> Any:
    """The same tree of bridge arrays, with lists for tuples: `compile` replaces no array in a tuple."""
    return utils.tree_unflatten(utils.tree_flatten(arrays(tree)))


def trained(optimizer: Any, convert: Any, tree_map: Any, steps: int = STEPS) -> Any:
    """The sample after some steps along fixed gradients."""
    parameters = tree_map(convert, sample(0))
    for step in range(steps):
        parameters = optimizer.apply_gradients(tree_map(convert, sample(step + 1)), parameters)
    return parameters


def assert_close(got: Any, want: Any, rtol: float = 0.0) -> None:
    """Two trees have the same paths, and the same numbers to `rtol`, which counts from 0.01 on."""
    got, want = dict(utils.tree_flatten(got)), dict(utils.tree_flatten(want))
    assert got.keys() == want.keys()
    for path, one in got.items():
        np.testing.assert_allclose(np.asarray(one), np.asarray(want[path]), rtol=rtol, atol=rtol * 1e-2, err_msg=path)


@pytest.fixture(autouse=True)
def mlx_on_the_cpu():
    """What MLX computes here, it computes on the CPU."""
    with mlx.core.stream(mlx.core.cpu):
        yield


@pytest.mark.parametrize("case", CASES)
def test_updates_are_those_of_mlx(case: str):
    """The same parameters and gradients give MLX's parameters and state after 20 steps, to rounding of float32."""
    name, arguments = CASES[case]
    got, want = getattr(optim, name)(**arguments), getattr(mlx.optimizers, name)(**arguments)
    tolerance = TOLERANCE.get(name, 5e-7)
    assert_close(
        trained(got, mx.array, utils.tree_map), trained(want, mlx.core.array, mlx.utils.tree_map), rtol=tolerance
    )
    assert_close(got.state, want.state, rtol=tolerance)


@pytest.mark.parametrize("case", CASES)
def test_scheduled_updates_are_those_of_mlx(case: str):
    """With a schedule for the learning rate, the parameters are MLX's after 20 steps."""
    name, arguments = CASES[case]
    got, want = (
        getattr(library, name)(**arguments | {"learning_rate": library.cosine_decay(0.05, 15)})
        for library in (optim, mlx.optimizers)
    )
    assert_close(
        trained(got, mx.array, utils.tree_map),
        trained(want, mlx.core.array, mlx.utils.tree_map),
        rtol=TOLERANCE.get(name, 5e-7) * 5,
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
@pytest.mark.parametrize("case", CASES)
def test_dtypes_stay(case: str, dtype: str):
    """Parameters and what is kept for them have the dtype of the parameters; no float32 comes of hyper-parameters."""
    name, arguments = CASES[case]
    optimizer = getattr(optim, name)(**arguments)
    kind = getattr(mx, dtype)
    parameters = optimizer.apply_gradients(arrays(sample(1), kind), arrays(sample(0), kind))
    kept = {k: v for k, v in optimizer.state.items() if k not in ("step", "learning_rate")}
    assert {one.dtype for _, one in utils.tree_flatten([parameters, kept])} == {kind}


@pytest.mark.parametrize("name", optim.__all__)
def test_signatures_are_those_of_mlx(name: str):
    """Every public name of MLX's module is there and takes the same arguments with the same defaults."""
    want = inspect.signature(getattr(mlx.optimizers, name)).parameters
    got = inspect.signature(getattr(optim, name)).parameters
    assert list(got) == list(want)
    for one, other in zip(got.values(), want.values(), strict=True):
        assert one.kind == other.kind
        default = other.default
        assert one.default == (tuple(default) if isinstance(default, list) else default)


def test_no_name_of_mlx_is_missing():
    """The classes and functions that mlx.optimizers defines are those of bridge.optimizers."""
    defined = {
        name
        for name, value in vars(mlx.optimizers).items()
        if getattr(value, "__module__", "").startswith("mlx.optimizers") and not name.startswith("_")
    }
    assert set(optim.__all__) == defined


def test_reachable_from_bridge():
    """bridge.optimizers is the module, without an import of its own."""
    assert mx.optimizers is optim


@pytest.mark.parametrize("case", CASES)
def test_compiled_steps(case: str):
    """Under compile, with the state as inputs and outputs, the parameters are those of the plain steps."""
    name, arguments = CASES[case]
    scheduled = arguments | {"learning_rate": optim.exponential_decay(0.05, 0.9)}
    plain, compiled = getattr(optim, name)(**scheduled), getattr(optim, name)(**scheduled)
    state = {"parameters": listed(sample(0))}
    traced = []

    def step(gradients: Any) -> None:
        traced.append(1)
        state["parameters"] = compiled.apply_gradients(gradients, state["parameters"])

    compiled.init(state["parameters"])
    containers = [state, compiled.state]
    run = mx.compile(step, inputs=containers, outputs=containers)
    for k in range(5):
        run(listed(sample(k + 1)))
    assert_close(state["parameters"], trained(plain, mx.array, utils.tree_map, 5), rtol=1e-5)
    assert len(traced) == 1
    assert compiled.step.item() == 5


def test_compiled_without_init():
    """State that is only made while a step is traced is there after it, and the results are those of plain steps."""
    state: dict[str, Any] = {"w": mx.array([1.0, 2.0])}
    optimizer, plain = optim.Adam(0.1), optim.Adam(0.1)
    want = {"w": mx.array([1.0, 2.0])}

    def step(gradient: mx.array) -> None:
        state.update(optimizer.apply_gradients({"w": gradient}, state))

    run = mx.compile(step, inputs=[state, optimizer.state], outputs=[state, optimizer.state])
    for k in range(3):
        run(mx.array([1.0, -k]))
        want = plain.apply_gradients({"w": mx.array([1.0, -k])}, want)
    assert_close(state, want, rtol=1e-6)
    assert_close(optimizer.state, plain.state, rtol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_state_can_be_saved(case: str, tmp_path: Any):
    """Training goes on from a file of the flat state as if it had not been interrupted."""
    name, arguments = CASES[case]
    whole = trained(getattr(optim, name)(**arguments), mx.array, utils.tree_map, 6)
    first = getattr(optim, name)(**arguments)
    parameters = trained(first, mx.array, utils.tree_map, 3)
    mx.savez(tmp_path / "state.npz", **utils.tree_flatten(first.state, destination={}))
    second = getattr(optim, name)(**arguments)
    second.state = utils.tree_unflatten(mx.load(str(tmp_path / "state.npz")))
    for step in range(3, 6):
        parameters = second.apply_gradients(arrays(sample(step + 1)), parameters)
    assert_close(parameters, whole)


def test_init_makes_the_state():
    """init makes what a rule keeps, in the places of the parameters."""
    optimizer = optim.SGD(learning_rate=0.1, momentum=0.9)
    optimizer.init({"weight": mx.ones((2, 2)), "more": [mx.ones((3,)), (mx.ones(()),)]})
    assert list(optimizer.state) == ["step", "learning_rate", "weight", "more"]
    paths = [path for path, _ in utils.tree_flatten(optimizer.state)]
    assert paths == ["step", "learning_rate", "weight.v", "more.0.v", "more.1.0.v"]
    assert optimizer.step.item() == 0
    assert optimizer.step.dtype == mx.uint64


@pytest.mark.parametrize("case", CASES)
def test_init_computes_nothing(case: str):
    """The state of a parameter of 16 TiB is made at once: it takes no memory before it is asked for."""
    name, arguments = CASES[case]
    optimizer = getattr(optim, name)(**arguments)
    optimizer.init({"w": mx.zeros((1 << 20, 1 << 22))})
    assert optimizer.state["w"]


def test_init_keeps_what_is_there():
    """init with further parameters makes their state and leaves the other as it is."""
    optimizer = optim.Adagrad(0.1)
    optimizer.apply_gradients({"a": [mx.array([2.0])]}, {"a": [mx.array([1.0])]})
    optimizer.init({"a": [mx.array([1.0]), mx.array([1.0, 1.0])], "b": mx.array([1.0])})
    assert [one["v"].tolist() for one in optimizer.state["a"]] == [[4.0], [0.0, 0.0]]
    assert optimizer.state["b"]["v"].tolist() == [0.0]


def test_the_structure_of_the_gradients_returns():
    """The result has lists, tuples and dictionaries where the gradients have them; other parameters are left out."""
    gradients = {"a": (mx.array(1.0), [mx.array(1.0)])}
    new = optim.SGD(1.0).apply_gradients(gradients, {"a": (mx.array(3.0), [mx.array(5.0)]), "frozen": mx.array(1.0)})
    assert new.keys() == {"a"}
    assert isinstance(new["a"], tuple)
    assert [new["a"][0].item(), new["a"][1][0].item()] == [2.0, 4.0]


def test_parameters_given_stay():
    """An update gives new arrays; those that were given do not change."""
    parameter = mx.array([1.0, 2.0])
    optim.AdamW(0.1).apply_gradients({"w": mx.array([1.0, 1.0])}, {"w": parameter})
    assert parameter.tolist() == [1.0, 2.0]


def test_a_single_array():
    """A lone array is a tree, too; what is kept for it stands beside the step."""
    optimizer = optim.Adagrad(1.0)
    new = optimizer.apply_gradients(mx.array([2.0]), mx.array([1.0]))
    assert new.tolist() == [0.0]
    assert optimizer.state["v"].tolist() == [4.0]


def test_update_changes_a_model():
    """update gives a model, a dictionary of its parameters with a method update, its new parameters."""

    class Model(dict):
        pass

    model = Model(w=mx.array([1.0]), fixed=mx.array([7.0]))
    optim.SGD(0.5).update(model, {"w": mx.array([1.0])})
    assert {name: one.tolist() for name, one in model.items()} == {"w": [0.5], "fixed": [7.0]}


def test_learning_rate_can_be_set():
    """The learning rate can be read, and set to a number between updates."""
    optimizer = optim.SGD(0.5)
    assert optimizer.learning_rate.item() == 0.5
    optimizer.learning_rate = 0.25
    new = optimizer.apply_gradients({"w": mx.array(1.0)}, {"w": mx.array(1.0)})
    assert new["w"].item() == 0.75


def test_a_subclass_needs_two_methods():
    """An optimizer of one's own implements init_single and apply_single; without them, using it raises."""

    class Signs(optim.Optimizer):
        def __init__(self, learning_rate: Any) -> None:
            super().__init__()
            self._maybe_schedule("learning_rate", learning_rate)

        def init_single(self, parameter: Any, state: Any) -> None:
            state["count"] = mx.array(0)

        def apply_single(self, gradient: Any, parameter: Any, state: Any) -> Any:
            state["count"] = state["count"] + 1
            return parameter - self.learning_rate * mx.sign(gradient)

    optimizer = Signs(0.5)
    assert optimizer.apply_gradients({"w": mx.array([-3.0])}, {"w": mx.array([1.0])})["w"].tolist() == [1.5]
    assert optimizer.state["w"]["count"].item() == 1
    with pytest.raises(NotImplementedError, match=r"Optimizer.init_single"):
        optim.Optimizer().init({"w": mx.array(1.0)})
    with pytest.raises(NotImplementedError, match=r"Optimizer.apply_single"):
        optim.Optimizer().apply_single(mx.array(1.0), mx.array(1.0), {})


@pytest.mark.parametrize("tree", [[mx.array(1.0)], (mx.array(1.0),)], ids=["list", "tuple"])
def test_the_outermost_container_is_a_dictionary(tree: Any):
    """A list or a tuple of parameters is refused: beside its positions, the state has no place for the step."""
    with pytest.raises(TypeError, match=rf"must be a dictionary.*\n  got:  {type(tree).__name__}\n  fix:"):
        optim.Adam(0.1).init(tree)


@pytest.mark.parametrize("name", ["step", "learning_rate"])
def test_a_parameter_cannot_have_the_name_of_state(name: str):
    """An outermost parameter with the name of something else in the state is refused."""
    with pytest.raises(ValueError, match=rf"keeps something else under the name '{name}'"):
        optim.Adam(0.1).init({name: mx.array(1.0)})


REFUSED = {
    "Nesterov without momentum": (lambda: optim.SGD(0.1, nesterov=True), "momentum=0.0"),
    "Nesterov with dampening": (lambda: optim.SGD(0.1, 0.9, dampening=0.1, nesterov=True), "dampening=0.1"),
    "RMSprop alpha": (lambda: optim.RMSprop(0.1, alpha=-0.1), "alpha=-0.1"),
    "RMSprop eps": (lambda: optim.RMSprop(0.1, eps=0), "eps=0"),
    "Adagrad eps": (lambda: optim.Adagrad(0.1, eps=-1), "eps=-1"),
    "AdaDelta rho": (lambda: optim.AdaDelta(0.1, rho=-1), "rho=-1"),
    "AdaDelta eps": (lambda: optim.AdaDelta(0.1, eps=0), "eps=0"),
    "Adam betas": (lambda: optim.Adam(0.1, betas=[0.9, 1.0]), r"betas=\(0.9, 1.0\)"),
    "Adam eps": (lambda: optim.Adam(0.1, eps=-1e-8), "eps=-1e-08"),
    "Lion betas": (lambda: optim.Lion(0.1, betas=[-0.1, 0.9]), r"betas=\(-0.1, 0.9\)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_hyper_parameters_out_of_range(case: str):
    """A hyper-parameter out of range is refused where MLX refuses it; the error says what came and what is wanted."""
    call, got = REFUSED[case]
    with pytest.raises(ValueError, match=rf"is out of range\.\n  got:  {got}\n  want: "):
        call()


def test_adafactor_without_learning_rate():
    """Adafactor with neither a learning rate nor relative steps raises at the update."""
    with pytest.raises(ValueError, match="relative_step=False needs a learning rate"):
        optim.Adafactor(relative_step=False).apply_gradients({"w": mx.array([1.0])}, {"w": mx.array([1.0])})


def several(library: Any) -> Any:
    """Muon for matrices, SGD for biases, Adam for the rest."""
    return library.MultiOptimizer(
        [library.Muon(0.02), library.SGD(0.1, 0.9), library.Adam(0.01)],
        [lambda path, one: one.ndim == 2, lambda path, one: path.endswith("bias")],
    )


def test_several_optimizers():
    """MultiOptimizer gives MLX's numbers, in a tree of the structure of the gradients."""
    got, want = several(optim), several(mlx.optimizers)
    new = trained(got, mx.array, utils.tree_map)
    assert_close(new, trained(want, mlx.core.array, mlx.utils.tree_map), rtol=TOLERANCE["Muon"])
    assert isinstance(new["layers"][1], tuple)
    assert [list(one) for one in got.state["states"]] == [list(one) for one in want.state["states"]]


def test_state_of_several_optimizers():
    """The states of several optimizers can be saved and set; the step is that of the first."""
    first, second = several(optim), several(optim)
    parameters = trained(first, mx.array, utils.tree_map, 3)
    second.init(parameters)
    second.state = utils.tree_unflatten(utils.tree_flatten(first.state))
    assert second.step.item() == 3
    got = second.apply_gradients(arrays(sample(9)), parameters)
    assert_close(got, first.apply_gradients(arrays(sample(9)), parameters))


def test_learning_rate_of_several_optimizers():
    """The learning rate read is the first one's; setting it sets all."""
    optimizer = several(optim)
    assert optimizer.learning_rate.item() == pytest.approx(0.02)
    optimizer.learning_rate = 0.5
    assert [one.learning_rate.item() for one in optimizer.optimizers] == [0.5] * 3


def test_several_optimizers_are_checked():
    """Filters or states whose number does not fit the optimizers are refused."""
    with pytest.raises(ValueError, match=r"needs a filter\.\n  got:  2 optimizers and 0 filters"):
        optim.MultiOptimizer([optim.SGD(0.1), optim.SGD(0.2)])
    optimizer = optim.MultiOptimizer([optim.SGD(0.1)])
    with pytest.raises(ValueError, match=r"needs a state\.\n  got:  0 states for 1 optimizers"):
        optimizer.state = {"step": mx.array(0)}


@pytest.mark.parametrize("max_norm", [0.0, 0.5, 1e3])
def test_clipping_is_that_of_mlx(max_norm: float):
    """clip_grad_norm gives MLX's gradients and norm, below the limit and above."""
    got, norm = optim.clip_grad_norm(arrays(sample(0)), max_norm)
    tree = mlx.utils.tree_map(mlx.core.array, sample(0))
    want, wanted_norm = mlx.optimizers.clip_grad_norm(tree, max_norm)
    assert_close(got, want, rtol=1e-6)
    assert norm.item() == pytest.approx(wanted_norm.item(), rel=1e-6)


def test_clipping_float16():
    """Squares that float16 cannot hold are summed in float32; the gradients keep their dtype."""
    clipped, norm = optim.clip_grad_norm({"w": mx.full((4,), 1000.0, mx.float16)}, 1.0)
    assert norm.item() == 2000.0
    assert clipped["w"].dtype == mx.float16
    assert clipped["w"].tolist() == pytest.approx([0.5] * 4, rel=1e-3)


def test_clipping_integers():
    """Integers become float32, as on MLX's page."""
    clipped, norm = optim.clip_grad_norm({"w1": mx.array([2, 3]), "w2": mx.array([1])}, 2.0)
    assert norm.item() == pytest.approx(14**0.5)
    assert clipped["w1"].tolist() == pytest.approx([2 * 2 / 14**0.5, 3 * 2 / 14**0.5])


def test_clipping_nothing():
    """No gradients have the norm 0."""
    clipped, norm = optim.clip_grad_norm({}, 1.0)
    assert clipped == {}
    assert norm.item() == 0


def test_a_norm_is_not_negative():
    """A negative limit is refused."""
    with pytest.raises(ValueError, match="max_norm=-1\n  want: at least 0"):
        optim.clip_grad_norm({}, -1)


def test_training_falls():
    """Logistic regression by Adam, gradients from value_and_grad: the loss falls below a tenth of what it was."""
    random = np.random.default_rng(0)
    x = mx.array(random.normal(size=(64, 3)).astype(np.float32))
    y = (x @ mx.array([1.0, -2.0, 0.5]) > 0.1).astype(mx.float32)

    def loss(parameters: Any) -> mx.array:
        logits = x @ parameters["w"] + parameters["b"]
        return mx.mean(mx.logaddexp(0, logits) - y * logits)

    parameters = {"w": mx.zeros((3,)), "b": mx.array(0.0)}
    optimizer = optim.Adam(0.3)
    first, _ = mx.value_and_grad(loss)(parameters)
    for _ in range(60):
        value, gradients = mx.value_and_grad(loss)(parameters)
        parameters = optimizer.apply_gradients(gradients, parameters)
        mx.eval(parameters, optimizer.state)
    assert value.item() < 0.1 * first.item()
