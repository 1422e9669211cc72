"""Gradients end at a conversion, so none is dropped without a word; what is traced has no bytes to hand over."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from cases.case import Case

import bridge

CASES = (
    Case(
        "G01",
        "A gradient is wrong, without a warning, where the function writes through a view of its argument.",
        "Taking a view of a traced array warns with what to do, and a policy makes it an error.",
        ("ml-explore/mlx#323",),
        later="transforms",
    ),
    Case(
        "G02",
        "A conversion inside a differentiated function cuts the graph, and the gradient is zero.",
        "The conversion warns with what to do, and a policy makes it an error.",
        ("ml-explore/mlx#610",),
        later="transforms",
    ),
    Case(
        "G03",
        "A tensor that requires grad is taken in and its gradient dropped without a word.",
        "It is refused, in every direction and under every `copy`; `detach=True` hands over the values.",
        ("ROCm/FlyDSL#1099",),
    ),
    Case(
        "G04",
        "The gradient of what left TensorFlow under a GradientTape is None.",
        "A tensor or variable that an active tape follows is refused; `detach=True` hands over the values.",
        ("jax-ml/jax#2154",),
    ),
    Case(
        "G05",
        "A module's parameters cannot be exported, not even under no_grad, so every project patches around it.",
        "One switch for all targets, nests included: `bridge.to(target, module.state_dict(), detach=True)`.",
        ("vllm-project/vllm#56161", "ROCm/FlyDSL#409", "pytorch/pytorch#169804"),
    ),
    Case(
        "G07",
        "Every project writes its own glue to carry derivatives from one framework into another.",
        "One wrapper carries vector-Jacobian products across.",
        ("jax-ml/jax#2154", "rdyro/torch2jax#1", "NVIDIA/warp#515"),
        later="transforms",
    ),
    Case(
        "G08",
        "A traced value fails deep inside with an error of another kind in every framework.",
        "`TracedError` everywhere, which names the transformation and the way out.",
        ("data-apis/array-api#839", "data-apis/array-api#642"),
    ),
)

TARGETS = ("bridge", "numpy", "jax", "tensorflow")
COPIES = (None, False, True)


def wanting_grad():
    import torch

    return {
        "leaf": torch.arange(16.0, requires_grad=True),
        "result": torch.arange(16.0, requires_grad=True) * 1,
        "view": torch.arange(32.0, requires_grad=True)[:16],
        "parameter": torch.nn.Parameter(torch.arange(16.0)),
        "complex": torch.complex(torch.arange(16.0), torch.zeros(16)).requires_grad_(),
        "bfloat16": torch.arange(16.0).bfloat16().requires_grad_(),
    }


@pytest.mark.parametrize("copy", COPIES)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kind", ["leaf", "result", "view", "complex", "bfloat16"])
def test_G03_a_tensor_that_requires_grad_is_refused(kind, target, copy):
    """No `copy` makes up for a lost gradient; the error says what hands over the values."""
    with pytest.raises(bridge.BridgeError, match=r"(?s)requires grad.*fix: +detach=True"):
        bridge.to(target, wanting_grad()[kind], copy=copy)


@pytest.mark.parametrize("take", [bridge.from_, bridge.asarray, bridge.array], ids=["from_", "asarray", "array"])
def test_G03_no_constructor_detaches_by_itself(take):
    """Not by the fast way, not by the constructor, not as an operand of an operator."""
    x = wanting_grad()["leaf"]
    with pytest.raises(bridge.BridgeError, match=r"(?s)requires grad.*detach=True"):
        take(x)
    with pytest.raises(bridge.BridgeError, match=r"(?s)requires grad.*detach=True"):
        bridge.ones(16) + x


@pytest.mark.parametrize("target", TARGETS)
def test_G03_detach_shares_the_values(target):
    """The same memory; the tensor keeps its gradient and can go on."""
    x = wanting_grad()["leaf"]
    y = bridge.to(target, x, detach=True, copy=False)
    assert np.asarray(y).tolist() == list(range(16))
    assert np.asarray(y).ctypes.data == x.data_ptr()
    assert x.requires_grad
    (x * 3).sum().backward()
    assert x.grad.tolist() == [3.0] * 16


def test_G03_a_plan_says_so_before():
    """explain tells the refusal and the way out, and raises nothing."""
    plan = bridge.explain("numpy", wanting_grad()["leaf"])
    assert (plan.outcome, plan.rule, plan.fix) == ("refused", "gradient", "detach=True to hand over the values alone")
    assert bridge.explain("numpy", wanting_grad()["leaf"], detach=True).outcome == "shared"


def test_G03_inside_torch_a_gradient_is_not_lost():
    """torch to torch is no conversion: the very tensor comes back, with its gradient."""
    x = wanting_grad()["leaf"]
    assert bridge.to("torch", x) is x
    copied = bridge.to("torch", x, copy=True)
    copied.sum().backward()
    assert x.grad.tolist() == [1.0] * 16


# G04


@pytest.mark.parametrize("copy", COPIES)
@pytest.mark.parametrize("target", ["bridge", "numpy", "torch", "jax"])
@pytest.mark.parametrize("source", ["tensor", "result", "variable"])
def test_G04_what_a_tape_follows_is_refused(source, target, copy):
    """Its gradient would come back as None: the error says what hands over the values."""
    import tensorflow as tf

    x = tf.range(16.0)
    variable = tf.Variable(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        followed = {"tensor": x, "result": x * 2, "variable": variable}[source]
        with pytest.raises(bridge.BridgeError, match=r"(?s)requires grad.*fix: +detach=True"):
            bridge.to(target, followed, copy=copy)


@pytest.mark.parametrize("target", ["bridge", "numpy", "jax"])
def test_G04_detach_hands_over_the_values(target):
    """The tape goes on for what stays inside."""
    import tensorflow as tf

    x = tf.range(16.0)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = x * x
        outside = bridge.to(target, y, detach=True)
        loss = tf.reduce_sum(y)
    assert np.asarray(outside).tolist() == [i * i for i in range(16)]
    assert tape.gradient(loss, x).numpy().tolist() == [2 * i for i in range(16)]


@pytest.mark.parametrize("target", ["bridge", "numpy", "jax"])
def test_G04_what_no_tape_follows_passes(target):
    """A tape that is active and looks at something else is none of the array's business; nor is one that has ended."""
    import tensorflow as tf

    x, other = tf.range(16.0), tf.range(16.0)
    frozen = tf.Variable(other, trainable=False)
    with tf.GradientTape() as tape:
        tape.watch(x)
        for plain in (other, other + 1, tf.stop_gradient(x), tf.cast(x, tf.int32), frozen):
            assert np.asarray(bridge.to(target, plain)).shape == (16,)
        with tape.stop_recording():
            assert np.asarray(bridge.to(target, x)).shape == (16,)
    assert np.asarray(bridge.to(target, x, copy=False)).shape == (16,)
    assert np.asarray(bridge.to(target, tf.Variable(x))).shape == (16,)


def test_G04_forward_accumulators_count_as_tapes():
    """The derivative that travels forwards would be lost as well."""
    import tensorflow as tf

    x, other = tf.range(16.0), tf.range(16.0)
    with tf.autodiff.ForwardAccumulator(x, tf.ones(16)):
        with pytest.raises(bridge.BridgeError, match=r"(?s)requires grad.*detach=True"):
            bridge.from_(x)
        assert bridge.from_(other).shape == (16,)
        assert bridge.from_(x, detach=True).shape == (16,)


def test_G04_a_tape_does_not_follow_what_comes_in():
    """An array that enters under a tape is a constant to it, unless it is watched there."""
    import tensorflow as tf

    a = bridge.arange(16, dtype=bridge.float32)
    with tf.GradientTape() as tape:
        x = bridge.to("tensorflow", a)
        tape.watch(x)
        loss = tf.reduce_sum(x * x)
    assert tape.gradient(loss, x).numpy().tolist() == [2 * i for i in range(16)]


# G05


@pytest.mark.parametrize("target", TARGETS)
def test_G05_a_parameter_is_refused_even_under_no_grad(target):
    """The mode of the caller says nothing about the parameter: the same answer, with the same fix."""
    import torch

    parameter = wanting_grad()["parameter"]
    for mode in (torch.enable_grad, torch.no_grad, torch.inference_mode):
        with mode(), pytest.raises(bridge.BridgeError, match=r"(?s)requires grad.*detach=True"):
            bridge.to(target, parameter)
        with mode():
            values = bridge.to(target, parameter, detach=True, copy=False)
        assert np.asarray(values).ctypes.data == parameter.data_ptr()


@pytest.mark.parametrize("target", TARGETS)
def test_G05_the_parameters_of_a_module_in_one_call(target):
    """state_dict() needs nothing, it is detached already; named_parameters() needs the one switch."""
    import torch

    module = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Linear(8, 2))
    wanted = {name: value.tolist() for name, value in module.state_dict().items()}
    for nest, detach in ((dict(module.state_dict()), False), (dict(module.named_parameters()), True)):
        values = bridge.to(target, nest, detach=detach)
        assert {name: np.asarray(value).tolist() for name, value in values.items()} == wanted
    with pytest.raises(bridge.BridgeError, match="requires grad") as caught:
        bridge.to(target, dict(module.named_parameters()))
    assert "x['0.weight']" in "".join(caught.value.__notes__)


def test_G05_detached_values_stay_one_with_the_parameter():
    """Sharing is sharing: a step of the optimiser shows."""
    import torch

    parameter = torch.nn.Parameter(torch.zeros(16))
    values = bridge.to("numpy", parameter, detach=True, copy=False)
    with torch.no_grad():
        parameter += 1
    assert values.tolist() == [1.0] * 16


def test_G05_a_frozen_parameter_needs_no_switch():
    """requires_grad=False: nothing is lost."""
    import torch

    parameter = torch.nn.Parameter(torch.zeros(16), requires_grad=False)
    assert bridge.to("numpy", parameter, copy=False).ctypes.data == parameter.data_ptr()


# G08


def jax_vmap(function):
    import jax
    import jax.numpy as jnp

    jax.vmap(function)(jnp.ones((2, 3)))


def jax_with(transformation):
    def trace(function):
        import jax
        import jax.numpy as jnp

        getattr(jax, transformation)(lambda x: (function(x), x.sum())[1])(jnp.ones(3))

    return trace


def jax_jvp(function):
    import jax
    import jax.numpy as jnp

    jax.jvp(function, (jnp.ones(3),), (jnp.ones(3),))


def jax_jit_of_vmap(function):
    import jax
    import jax.numpy as jnp

    jax.jit(jax.vmap(function))(jnp.ones((2, 3)))


def tensorflow_function(function):
    import tensorflow as tf

    tf.function(function)(tf.ones(3))


def tensorflow_variable(function):
    import tensorflow as tf

    variable = tf.Variable(tf.ones(3))
    tf.function(lambda: function(variable))()


def tensorflow_map(function):
    import tensorflow as tf

    tf.vectorized_map(function, tf.ones((2, 3)))


def torch_vmap(function):
    import torch

    torch.func.vmap(function)(torch.ones(2, 3))


def torch_grad(function):
    import torch

    torch.func.grad(lambda x: (function(x), x.sum())[1])(torch.ones(3))


def torch_jvp(function):
    import torch

    torch.func.jvp(function, (torch.ones(3),), (torch.ones(3),))


def torch_functionalize(function):
    import torch

    torch.func.functionalize(function)(torch.ones(3))


def torch_fake(function):
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        function(torch.ones(3))


# who traces: how, and how the error names it
TRACED = {
    "jax.jit": (jax_with("jit"), r"jax\.jit"),
    "jax.grad": (jax_with("grad"), r"jax\.grad"),
    "jax.checkpoint": (jax_with("checkpoint"), r"jax\.jit"),
    "jax.vmap": (jax_vmap, r"jax\.vmap"),
    "jax.jvp": (jax_jvp, r"jax\.jvp"),
    "jax.jit of vmap": (jax_jit_of_vmap, r"jax\.vmap"),
    "tf.function": (tensorflow_function, r"tf\.function"),
    "tf.function, variable": (tensorflow_variable, r"tf\.function"),
    "tf.vectorized_map": (tensorflow_map, r"tf\.function"),
    "torch.func.vmap": (torch_vmap, r"torch\.func\.vmap"),
    "torch.func.grad": (torch_grad, r"torch\.func\.grad"),
    "torch.func.jvp": (torch_jvp, r"torch\.func\.grad \(or vjp, jvp\)"),
    "torch.func.functionalize": (torch_functionalize, r"torch\.func\.functionalize"),
    "torch.compile's tensors": (torch_fake, r"torch\.compile"),
}

WAYS = {
    "to numpy": lambda x: bridge.to("numpy", x),
    "to torch": lambda x: bridge.to("torch", x),
    "to jax": lambda x: bridge.to("jax", x),
    "to tensorflow": lambda x: bridge.to("tensorflow", x),
    "to, copy=True": lambda x: bridge.to("numpy", x, copy=True),
    "to, detach=True": lambda x: bridge.to("numpy", x, detach=True),
    "to, in a nest": lambda x: bridge.to("numpy", {"a": [x]}),
    "from_": bridge.from_,
    "asarray": bridge.asarray,
    "array": bridge.array,
    "operator": lambda x: bridge.ones(3) + x,
    "from_dlpack": bridge.from_dlpack,
}


FRAMEWORK = {"jax": "jax", "tf": "tensorflow", "torch": "torch"}


def framework_of(who: str) -> str:
    return FRAMEWORK[who.partition(".")[0]]


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # torch, on its own account
@pytest.mark.parametrize(
    ("who", "way"), [(who, way) for who, way in product(TRACED, WAYS) if way != f"to {framework_of(who)}"]
)
def test_G08_a_traced_value_is_one_kind_of_error(who, way):
    """The same class from every framework, by every way in; the text names the transformation and the way out."""
    trace, named = TRACED[who]
    seen = []

    def convert(x):
        with pytest.raises(
            bridge.TracedError, match=rf"(?s)traced by {named}.*no values yet.*fix: +convert outside"
        ) as caught:
            WAYS[way](x)
        seen.append(type(caught.value))
        return x

    trace(convert)
    assert seen
    assert set(seen) == {bridge.TracedError}


@pytest.mark.parametrize("who", TRACED)
def test_G08_a_traced_value_is_handed_back_to_its_own_framework(who):
    """Nothing is converted, so nothing needs values: code that converts to what it has runs under a transformation."""
    trace, _ = TRACED[who]
    seen = []

    def convert(x):
        seen.append(bridge.to(framework_of(who), x) is x)
        return x

    trace(convert)
    assert seen
    assert all(seen)
