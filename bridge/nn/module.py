"""`Module`: a dictionary of arrays and modules that can be called."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable
from os import PathLike, fspath
from typing import Any, TypeAlias

from bridge.core._native import Dtype, array
from bridge.core.errors import message
from bridge.core.io import load, save_safetensors, savez
from bridge.core.lattice import DtypeCategory, issubdtype
from bridge.utils import tree_flatten, tree_unflatten

Filter: TypeAlias = Callable[["Module", str, Any], bool]
Names: TypeAlias = str | list[str]


def _is_floating(dtype: Dtype) -> bool:
    return issubdtype(dtype, DtypeCategory.floating)


class Module(dict[str, Any]):
    """A part of a model: arrays, further modules, and a `__call__` that the subclass writes.

    An attribute that is an array, a module, a list, a tuple or a dictionary becomes an entry of the dictionary; all
    others are plain attributes. The arrays in it, and in modules, lists and dictionaries within, are the *parameters*,
    except under names that begin with an underscore. A parameter is trainable unless it is frozen.

    Nothing is computed by making a module: its parameters are lazy arrays until they are evaluated.

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.hidden = nn.Linear(4, 16)
                self.out = nn.Linear(16, 2)

            def __call__(self, x):
                return self.out(nn.relu(self.hidden(x)))
    """

    __call__: Callable[..., Any]

    def __init__(self) -> None:
        self._no_grad: set[str] = set()
        self._training = True

    @property
    def training(self) -> bool:
        """Whether the module is in training mode; `train` and `eval` switch it."""
        return self._training

    @property
    def state(self) -> Module:
        """The module itself, so what is written there is the module's. For `inputs=` and `outputs=` of compile."""
        return self

    def _extra_repr(self) -> str:
        """What stands between the parentheses of the repr."""
        return ""

    def __repr__(self) -> str:
        parts = tree_flatten(self.children(), is_leaf=self.is_module)
        lines = "".join("\n" + textwrap.indent(f"({path}): {part!r}", "  ") for path, part in parts)
        return f"{type(self).__name__}({self._extra_repr()}{lines}" + ("\n)" if parts else ")")

    def __getattr__(self, key: str) -> Any:
        value = self.get(key)
        if value is None:
            return super().__getattribute__(key)  # raises as any object does
        return value

    def __setattr__(self, key: str, val: Any) -> None:
        if isinstance(val, array | dict | list | tuple):
            if key not in self and hasattr(self, key):
                delattr(self, key)  # an attribute would hide the entry
            self[key] = val
        else:
            super().__setattr__(key, val)
            self.pop(key, None)

    def __delattr__(self, name: str) -> None:
        if self.get(name) is None:
            super().__delattr__(name)
        else:
            del self[name]

    # Filters and walks.

    @staticmethod
    def is_module(value: Any) -> bool:
        """Whether `value` is a module."""
        return isinstance(value, Module)

    @staticmethod
    def valid_child_filter(module: Module, key: str, value: Any) -> bool:
        """Keeps what may hold modules: modules, dictionaries, lists."""
        return isinstance(value, dict | list)

    @staticmethod
    def valid_parameter_filter(module: Module, key: str, value: Any) -> bool:
        """Keeps arrays and what may hold them, except under a name that begins with an underscore."""
        return isinstance(value, dict | list | array) and not key.startswith("_")

    @staticmethod
    def trainable_parameter_filter(module: Module, key: str, value: Any) -> bool:
        """Keeps what `valid_parameter_filter` keeps and `module` has not frozen."""
        return Module.valid_parameter_filter(module, key, value) and key not in module._no_grad

    def filter_and_map(
        self, filter_fn: Filter, map_fn: Callable[[Any], Any] | None = None, is_leaf_fn: Filter | None = None
    ) -> dict[str, Any]:
        """The contents that a filter keeps, as a tree of dictionaries and lists.

        Args:
            filter_fn:  `filter_fn(module, key, value)` says whether to keep `value`. Within a list or a dictionary that
                        is no module, the key is a path ("layers.0") and what is not kept leaves an empty dictionary.
            map_fn:     takes each leaf and gives what stands in its place.
            is_leaf_fn: `is_leaf_fn(module, key, value)` says where to stop; by default at what is no module, dictionary
                        or list.
        """
        change = map_fn or (lambda value: value)
        stop = is_leaf_fn or (lambda module, key, value: not isinstance(value, dict | list))
        return _kept(self, filter_fn, change, stop)

    def parameters(self) -> dict[str, Any]:
        """All arrays, frozen ones too, as a tree of dictionaries and lists."""
        return self.filter_and_map(self.valid_parameter_filter)

    def trainable_parameters(self) -> dict[str, Any]:
        """All arrays that are not frozen, as a tree of dictionaries and lists."""
        return self.filter_and_map(self.trainable_parameter_filter)

    def children(self) -> dict[str, Any]:
        """The modules directly below this one, as a tree of dictionaries and lists."""
        return self.filter_and_map(self.valid_child_filter, is_leaf_fn=lambda m, k, v: isinstance(v, Module))

    def leaf_modules(self) -> dict[str, Any]:
        """The modules below this one that hold no others, as a tree of dictionaries and lists."""
        return self.filter_and_map(
            self.valid_child_filter,
            is_leaf_fn=lambda m, k, v: isinstance(v, Module) and not tree_flatten(v.children()),
        )

    def apply_to_modules(self, apply_fn: Callable[[str, Module], Any]) -> Module:
        """Call `apply_fn(path, module)` for this module (path "") and for every one below it; returns this module."""
        waiting = [("", self)]
        while waiting:
            path, module = waiting.pop()
            apply_fn(path, module)
            below = tree_flatten(module.children(), prefix=f".{path}" if path else "", is_leaf=self.is_module)
            waiting.extend((name, part) for name, part in below if isinstance(part, Module))
        return self

    def modules(self) -> list[Module]:
        """This module and every one below it."""
        return [module for _, module in self.named_modules()]

    def named_modules(self) -> list[tuple[str, Module]]:
        """(path, module) for this module (path "") and every one below it; paths look like "layers.0.attention"."""
        found: list[tuple[str, Module]] = []
        self.apply_to_modules(lambda path, module: found.append((path, module)))
        return found

    # Updates.

    def update(self, parameters: dict[str, Any], strict: bool = True) -> Module:  # type: ignore[override]
        """Put arrays in the place of parameters; returns this module.

        Args:
            parameters: a tree like that of `parameters()`, or a part of it.
            strict:     raise for what the module does not have.

        Raises:
            ValueError: strict, and a name or position is not there, or something else stands where an array should.
        """
        _replace(self, parameters, strict, _put_array, "update")
        return self

    def update_modules(self, modules: dict[str, Any], strict: bool = True) -> Module:
        """Put modules in the place of modules below this one; returns this module.

        Args:
            modules: a tree like that of `children()` or `leaf_modules()`, or a part of it.
            strict:  raise for what the module does not have.

        Raises:
            ValueError: strict, and a name or position is not there, or something else stands where a module should.
        """
        _replace(self, modules, strict, _put_module, "update_modules")
        return self

    def apply(self, map_fn: Callable[[array], array], filter_fn: Filter | None = None) -> Module:
        """Put `map_fn(parameter)` in the place of each parameter that the filter keeps; returns this module."""
        return self.update(self.filter_and_map(filter_fn or Module.valid_parameter_filter, map_fn))

    def set_dtype(self, dtype: Dtype, predicate: Callable[[Dtype], bool] | None = _is_floating) -> None:
        """Convert parameters to `dtype`.

        Args:
            predicate: which dtypes are converted: by default the floating ones; None for all.
        """
        self.apply(lambda a: a.astype(dtype) if predicate is None or predicate(a.dtype) else a)

    def load_weights(
        self, file_or_weights: str | PathLike[str] | list[tuple[str, array]], strict: bool = True
    ) -> Module:
        """Put arrays from a file or a list in the place of parameters; returns this module.

        Arrays of a file are views of it, in the dtype that they have there. What a parameter was before is let go: if
        it was never evaluated, its memory is never allocated.

        Args:
            file_or_weights: path of an npz or safetensors file, or (path of the parameter, array) pairs.
            strict:          names and shapes must be exactly those of the model. Otherwise what the model does not
                             have is passed over, and shapes are not compared.

        Raises:
            ValueError: strict, and a parameter is missing, unknown, no array, or of another shape.
        """
        weights = file_or_weights
        if isinstance(weights, str | PathLike):
            weights = list(load(weights).items())
        if strict:
            _compare(tree_flatten(self.parameters(), destination={}), dict(weights))
        if weights:
            self.update(tree_unflatten(weights), strict=False)
        return self

    def save_weights(self, file: str | PathLike[str]) -> None:
        """Save all parameters by their paths ("layers.0.weight") to an npz or safetensors file; the extension decides.

        Raises:
            ValueError: another extension.
        """
        file, parameters = fspath(file), tree_flatten(self.parameters(), destination={})
        if file.endswith(".npz"):
            savez(file, **parameters)
        elif file.endswith(".safetensors"):
            save_safetensors(file, parameters)
        else:
            tag = "bridge.nn.Module.save_weights"
            raise ValueError(message(tag, "the extension names no format", got=file, want=".npz or .safetensors"))

    # Training.

    def freeze(self, *, recurse: bool = True, keys: Names | None = None, strict: bool = False) -> Module:
        """Take parameters out of `trainable_parameters()`; returns this module.

        Args:
            recurse: also in the modules below.
            keys:    only parameters of this name or these names; None for all.
            strict:  raise for a name that no module has.

        Raises:
            KeyError: strict, and nothing has this name.
        """

        def put(module: Module) -> None:
            module._no_grad.update(_own_names(module) if keys is None else _names(keys))

        return self._for_each(put, recurse, keys, strict)

    def unfreeze(self, *, recurse: bool = True, keys: Names | None = None, strict: bool = False) -> Module:
        """Put frozen parameters back into `trainable_parameters()`; arguments as of `freeze`."""

        def put(module: Module) -> None:
            module._no_grad.difference_update(list(module._no_grad) if keys is None else _names(keys))

        return self._for_each(put, recurse, keys, strict)

    def _for_each(self, put: Callable[[Module], None], recurse: bool, keys: Names | None, strict: bool) -> Module:
        """`put` for this module, or for each of `modules()`; their entries are to have the names if `strict`."""
        everyone = self.modules() if recurse else [self]
        for key in _names(keys or []) if strict else []:
            if not any(key in module for module in everyone):
                raise KeyError(f"Module doesn't contain member {key}.")
        for module in everyone:
            put(module)
            module._no_grad |= module._never_trained()
        return self

    def _never_trained(self) -> set[str]:
        """Names of parameters that `unfreeze` leaves frozen, whoever calls it."""
        return set()

    def _set_training_mode(self, mode: bool) -> None:
        self._training = mode

    def train(self, mode: bool = True) -> Module:
        """Switch this module and those below to training, or out of it (`mode=False`); returns this module."""
        return self.apply_to_modules(lambda _, module: module._set_training_mode(mode))

    def eval(self) -> Module:
        """Switch this module and those below out of training; returns this module."""
        return self.train(False)


def _names(keys: Names) -> list[str]:
    return [keys] if isinstance(keys, str) else list(keys)


def _own_names(module: Module) -> list[str]:
    """Paths of what a module holds itself, not in a module below."""

    def own(module: Module, key: str, value: Any) -> bool:
        return not isinstance(value, Module) and module.valid_parameter_filter(module, key, value)

    return [path for path, _ in tree_flatten(module.filter_and_map(own))]


def _kept(module: Module, keep: Filter, change: Callable[[Any], Any], stop: Filter) -> dict[str, Any]:
    """The entries of a module that `keep` keeps."""
    return {k: _descend(module, k, v, keep, change, stop) for k, v in module.items() if keep(module, k, v)}


def _descend(module: Module, key: str, value: Any, keep: Filter, change: Callable[[Any], Any], stop: Filter) -> Any:
    if stop(module, key, value):
        return change(value)
    if isinstance(value, Module):
        return _kept(value, keep, change, stop)

    def entry(name: Any, part: Any) -> Any:
        path = f"{key}.{name}"
        return _descend(module, path, part, keep, change, stop) if keep(module, path, part) else {}

    if isinstance(value, dict):
        return {name: entry(name, part) for name, part in value.items()}
    if isinstance(value, list):
        return [entry(i, part) for i, part in enumerate(value)]
    problem = f"is_leaf_fn does not stop at {key}, which holds nothing to descend into"
    raise RuntimeError(message("bridge.nn.Module.filter_and_map", problem, got=type(value).__name__))


Put: TypeAlias = Callable[[Any, Any, Any, bool], bool]


def _replace(target: Any, new: Any, strict: bool, put: Put, method: str) -> None:
    """Walk `new` beside `target`; `put(target, key, new[key], strict)` says whether it has dealt with the entry."""
    if isinstance(new, dict):
        entries: Iterable[tuple[Any, Any]] = new.items()
    elif isinstance(new, list):
        entries = enumerate(new)
    elif strict:
        raise ValueError(_wrong(method, new))
    else:
        return
    for key, value in entries:
        there = key in target if isinstance(target, dict) else isinstance(key, int) and key < len(target)
        if there:
            if not put(target, key, value, strict):
                _replace(target[key], value, strict, put, method)
        elif strict:
            what = f"no entry named {key!r}" if isinstance(new, dict) else f"only {len(target)} entries, so no [{key}]"
            raise ValueError(message(f"bridge.nn.Module.{method}", f"the module has {what}", fix="strict=False"))


def _put_array(target: Any, key: Any, value: Any, strict: bool) -> bool:
    if not isinstance(target[key], array):
        return False
    if strict and not isinstance(value, array):
        raise ValueError(_wrong("update", value))
    target[key] = value
    return True


def _put_module(target: Any, key: Any, value: Any, strict: bool) -> bool:
    current = target[key]
    if isinstance(current, Module) and isinstance(value, Module):
        target[key] = value
    elif isinstance(current, dict | list):
        return False
    elif strict and value != {}:
        raise ValueError(_wrong("update_modules", value))
    return True


def _wrong(method: str, value: Any) -> str:
    what = "an array" if method == "update" else "a module"
    return message(f"bridge.nn.Module.{method}", f"{what} is wanted, or a tree of them", got=type(value).__name__)


def _compare(have: dict[str, array], given: dict[str, Any]) -> None:
    """Raise a ValueError unless `given` has exactly the names and shapes of `have`."""
    tag = "bridge.nn.Module.load_weights"
    if unknown := sorted(given.keys() - have.keys()):
        got = ", ".join(unknown)
        raise ValueError(message(tag, f"{len(unknown)} parameters are not in the model", got=got, fix="strict=False"))
    if missing := sorted(have.keys() - given.keys()):
        want = ", ".join(missing)
        raise ValueError(message(tag, f"{len(missing)} parameters are missing", want=want, fix="strict=False"))
    for path, parameter in have.items():
        new = given[path]
        if not isinstance(new, array):
            raise ValueError(message(tag, f"the parameter {path} is no array", got=type(new).__name__))
        if new.shape != parameter.shape:
            shapes = {"got": str(new.shape), "want": str(parameter.shape)}
            raise ValueError(message(tag, f"the parameter {path} has another shape", **shapes))
