"""Which plugin owns what: target name -> Framework, array type -> Framework, and the shortcuts learned from use.

pluggy finds the plugins and checks their hooks; a dictionary dispatches. Plugins are loaded at the first conversion,
never by `import bridge`. A third-party plugin that cannot be used becomes one `PluginWarning` that names it, and a row
of `registry.health()`.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import pkgutil
import sys
import textwrap
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pluggy

import bridge.plugins
from bridge import hookspecs
from bridge.core.contract import problem_of_export, problem_of_facts, problem_of_record, problem_of_source
from bridge.core.errors import BridgeError, PluginError, PluginWarning, UnknownTarget, message
from bridge.core.framework import Facts, Framework, Shortcut, Source
from bridge.core.record import Receipt
from bridge.core.route import Route

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["BUILT_IN", "GROUP", "Health", "Registry", "registry"]

#: Entry points of this group name plugin modules or objects.
GROUP = "bridge.plugins"

#: The origin of the plugins that come with bridge.
BUILT_IN = "built-in"

Hook = Callable[..., Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """One plugin: where it comes from, what it brings, and why it cannot be used, if it cannot."""

    name: str
    origin: str  # BUILT_IN, "registered" (by a program), or the value of its entry point: "package.module:attribute"
    distribution: str = ""  # "bridge-mlx 0.1", if it was installed
    frameworks: tuple[str, ...] = ()
    problem: str = ""  # one line; "" where all is well

    @property
    def ok(self) -> bool:
        return not self.problem

    @property
    def status(self) -> str:
        """ "ok", or the problem."""
        return self.problem or "ok"


class Registry:
    """The plugins of one process. Loading and registering lock; look-ups are dictionary reads."""

    def __init__(self) -> None:
        self.manager = _manager()
        self.frameworks: dict[str, Framework] = {}  # replaced, never changed: other threads walk through it
        # Target name -> exact source type -> function. Emptied in place while somebody watches, so that holders of a
        # row need not ask; `_learned` remembers what to put back.
        self.rows: dict[str, dict[type, Shortcut]] = {}
        self._learned: dict[str, dict[type, Shortcut]] = {}
        self._made: dict[tuple[str, str], Shortcut | None] = {}
        self._owners: dict[str, object] = {}
        self._type_names: dict[str, Framework] = {}
        self._types: dict[type, Framework | None] = {}
        self._hooks: dict[tuple[str, str], Hook] = {}
        self._built_in: set[str] = set()  # frameworks whose plugins are not doubted: tests have compared their words
        self._installed: set[str] = set()
        self._health: dict[str, Health] = {}  # by name of the plugin; those that could not be used by their entry point
        self.watched = False  # somebody wants to see every conversion, so that no shortcut may be taken
        self._watchers = 0
        self._loading = self._loaded = False
        self._lock = threading.RLock()

    # ------------------------------------------------------------------------------------------------------- loading

    def load(self) -> None:
        """Load the built-in plugins and the installed ones, once. What cannot be used is warned of afterwards."""
        if self._loaded:
            return
        with self._lock:  # other threads wait here; a plugin that converts while it is imported passes
            if self._loaded or self._loading:
                return
            self._loading = True
            try:
                self._load()
                self._loaded = True
            except BaseException:  # interrupted: the next conversion starts again from nothing
                for _, plugin in self.manager.list_name_plugin():
                    self._drop(plugin)
                self._health.clear()
                raise
            finally:
                self._loading = False
                self._settle()
        _warn(row for row in self._health.values() if not row.ok)

    def health(self) -> list[Health]:
        """Every plugin, the built-in ones first, then the installed ones by name, then those that were registered."""
        self.load()
        with self._lock:
            owned = {name: self.manager.get_name(owner) for name, owner in self._owners.items()}
            return [
                replace(
                    row, frameworks=tuple(sorted(name for name, owner in owned.items() if row.ok and owner == row.name))
                )
                for row in self._health.values()
            ]

    def _load(self) -> None:
        for module in pkgutil.iter_modules(bridge.plugins.__path__):
            if not module.name.startswith("_"):
                self._adopt(importlib.import_module(f"bridge.plugins.{module.name}"), module.name, origin=BUILT_IN)
        self._settle()  # an installed plugin may convert while it is imported
        entries, damaged = _entry_points()
        for number, row in enumerate(damaged):
            self._health[f"{number} damaged"] = row
        for entry in sorted(entries, key=lambda entry: entry.name):
            self._try(entry)

    def register(self, plugin: object, name: str | None = None) -> None:
        """Add a plugin that has no entry point.

        Raises:
            PluginError: it declares a framework that exists, or its hooks do not fit; nothing of it stays.
        """
        self.load()
        with self._lock:
            try:
                self._adopt(plugin, name, origin="registered")
            except Exception as error:
                raise PluginError(
                    message("bridge.plugins", f"the plugin {name or plugin!r} cannot be used: {error}")
                ) from error
            self._settle()

    def unregister(self, plugin: object) -> None:
        """Take a plugin away, with its frameworks. Arrays that it made live on."""
        with self._lock:
            self._drop(plugin)
            self._settle()

    def _try(self, entry: EntryPoint) -> None:
        try:
            if entry.pattern.match(entry.value) is None:
                raise ValueError(f"{entry.value!r} is not of the form package.module:attribute")
            self._adopt(entry.load(), entry.name, origin=entry.value, distribution=_distribution(entry))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit too: a module may take itself for a program
            # Under a key that no plugin has: the name may be that of one that works.
            self._health[f"{entry.name} = {entry.value}"] = Health(
                name=entry.name, origin=entry.value, distribution=_distribution(entry), problem=_one_line(error)
            )

    def _adopt(self, plugin: object, name: str | None, *, origin: str, distribution: str = "") -> None:
        """Register a plugin and its frameworks, all or nothing."""
        name = name or self.manager.get_canonical_name(plugin)
        if self.manager.has_plugin(name):
            raise ValueError(f"another plugin has the name {name!r} already")
        if self.manager.is_registered(plugin):
            raise ValueError(f"it is the same object as the plugin {self.manager.get_name(plugin)!r}")
        try:
            self.manager.register(plugin, name)
            self.manager.check_pending()  # a hook with a misspelt name would never be called
            hooks = self.manager.get_hookcallers(plugin)
            if not hooks:
                raise TypeError(f"{type(plugin).__name__} has no function marked @bridge.hookimpl")
            for framework in self._declared_by(plugin):
                self._declare(framework, plugin)
        except BaseException:
            self._drop(plugin)
            raise
        self._health[name] = Health(name=name, origin=origin, distribution=distribution)

    def _declared_by(self, plugin: object) -> list[object]:
        for implementation in self.manager.hook.bridge_frameworks.get_hookimpls():
            if implementation.plugin is plugin:
                declared = implementation.function()
                if not isinstance(declared, Iterable):
                    raise TypeError(f"bridge_frameworks() returned {type(declared).__name__}, not a list of Framework")
                return list(declared)
        return []

    def _declare(self, framework: object, plugin: object) -> None:
        problem = problem_of_record(framework)
        if problem is not None or not isinstance(framework, Framework):
            raise TypeError(problem)
        if framework.name in self.frameworks:
            owner = self.manager.get_name(self._owners[framework.name])
            raise ValueError(f"the framework {framework.name!r} belongs to the plugin {owner!r} already")
        for other in self.frameworks.values():
            for name in set(other.types).intersection(framework.types):
                raise ValueError(f"arrays of the type {name} belong to the framework {other.name!r} already")
        self.frameworks = {**self.frameworks, framework.name: framework}
        self._owners = {**self._owners, framework.name: plugin}

    def _drop(self, plugin: object) -> None:
        self._health.pop(self.manager.get_name(plugin) or "", None)
        if self.manager.is_registered(plugin):
            self.manager.unregister(plugin)
        gone = {name for name, owner in self._owners.items() if owner is plugin}
        self.frameworks = {name: framework for name, framework in self.frameworks.items() if name not in gone}
        self._owners = {name: owner for name, owner in self._owners.items() if name not in gone}

    def _settle(self) -> None:
        """Recompute what depends on who is registered."""
        self._type_names = {name: framework for framework in self.frameworks.values() for name in framework.types}
        self._types = {}  # after the names (`framework_of`)
        built_in = {row.name for row in self._health.values() if row.origin == BUILT_IN and row.ok}
        self._built_in = {name for name, owner in self._owners.items() if self.manager.get_name(owner) in built_in}
        self._hooks = {
            (hook, name): self._owned_hook(hook, owner)
            for hook in ("bridge_import", "bridge_export")
            for name, owner in self._owners.items()
        }
        self._learned.clear()
        self._made = {}
        self._refill()

    def _owned_hook(self, hook: str, owner: object) -> Hook:
        """The owner's implementation, called with keywords; where others stand around it, by way of them."""
        around = self._around(hook)
        if around:
            # Without all others: one that answers for every framework would be asked before the owner.
            manager = _manager()
            for plugin in [*around, owner]:
                if not manager.is_registered(plugin):
                    manager.register(plugin)
            return getattr(manager.hook, hook)  # type: ignore[no-any-return]
        for implementation in getattr(self.manager.hook, hook).get_hookimpls():
            if implementation.plugin is owner:
                return _with_arguments(implementation.function, implementation.argnames, hook)
        return _no_answer

    def _around(self, hook: str) -> list[object]:
        """The plugins that wrap a hook."""
        implementations = getattr(self.manager.hook, hook).get_hookimpls()
        return [each.plugin for each in implementations if each.wrapper or each.hookwrapper]

    # ----------------------------------------------------------------------------------------------------- look-ups

    def target(self, name: object, *, tag: str) -> Framework:
        """The framework that a user means: by name, by module (`torch`) or by array type (`torch.Tensor`).

        Raises:
            UnknownTarget: no such framework, or its package is not installed.
        """
        self.load()
        framework = self.frameworks.get(name) if isinstance(name, str) else self._meant_by(name)
        if framework is None:
            raise UnknownTarget(self._unknown(name, tag))
        if framework.name not in self._installed:
            if not self.is_installed(framework):
                raise UnknownTarget(
                    message(tag, f"{framework.name} is not installed", want=self._known(), fix=framework.install)
                )
            self._installed.add(framework.name)
        return framework

    def is_installed(self, framework: Framework) -> bool:
        """Whether the package of the framework can be imported; it is not."""
        try:
            return framework.module in sys.modules or importlib.util.find_spec(framework.module) is not None
        except (ImportError, ValueError):  # of a dotted name, the package is missing
            return False

    def framework_of(self, kind: type) -> Framework | None:
        """The framework whose array type `kind` is, or derives from; None: nobody's."""
        self.load()
        known = self._types  # first: what was found among the names of the past goes into the table of the past
        try:
            return known[kind]
        except KeyError:
            type_names = self._type_names
            names = (f"{base.__module__}.{base.__qualname__}" for base in kind.__mro__)
            found = next((type_names[name] for name in names if name in type_names), None)
            known[kind] = found
            return found

    def plugin_of(self, framework: Framework) -> object:
        """The plugin that declared the framework."""
        return self._owners[framework.name]

    def _hook(self, hook: str, framework: Framework) -> Hook:
        try:
            return self._hooks[hook, framework.name]
        except KeyError:  # another thread is registering the plugin, or has taken it away
            with self._lock:
                if (hook, framework.name) in self._hooks:
                    return self._hooks[hook, framework.name]
        problem = f"the plugin of {framework.name!r} was unregistered during the conversion"
        raise PluginError(message("bridge.plugins", problem))

    def describe(self, framework: Framework, value: object) -> Source:
        """The array as its plugin describes it.

        Raises:
            PluginError: a third-party plugin said what cannot be true.
        """
        source = self._hook("bridge_import", framework)(framework=framework, value=value)
        if not isinstance(source, Source):
            problem = f"bridge_import returned {type(source).__name__}, not a Source"
            raise PluginError(self._broken(framework, problem))
        if framework.name not in self._built_in:
            problem_found = problem_of_facts(framework, source.facts)
            if problem_found is not None:
                raise PluginError(self._broken(framework, f"bridge_import described an array, and {problem_found}"))
        return source

    def export(self, framework: Framework, source: Source, route: Route) -> Any:
        """The new array, as the target's plugin makes it.

        Raises:
            PluginError: a third-party plugin did not do what the route says, or handed out no memory for it.
        """
        source.holder = framework.name
        try:
            result = self._hook("bridge_export", framework)(framework=framework, source=source, route=route)
        except (BridgeError, MemoryError):
            raise
        except Exception as error:
            self._blame(source, error)
            raise
        if result is None or self.framework_of(type(result)) is not framework:
            problem = f"bridge_export returned {type(result).__name__}, no array of {framework.name}"
            raise PluginError(self._broken(framework, problem))
        if framework.name not in self._built_in:
            self._compare(framework, source.facts, route, result)
        return result

    def _compare(self, framework: Framework, source: Facts, route: Route, result: object) -> None:
        """See whether the plugin did what the route says: else a copy would pass for a shared array."""
        try:
            made = self.describe(framework, result).facts
        except BridgeError:
            raise
        except Exception as error:
            problem = f"bridge_import cannot describe what bridge_export made: {_one_line(error)}"
            raise PluginError(self._broken(framework, problem)) from error
        problem_found = problem_of_export(framework, route, source, made)
        if problem_found is not None:
            raise PluginError(self._broken(framework, f"bridge_export: {problem_found}"))

    def _blame(self, source: Source, error: Exception) -> None:
        """Raise if what the target choked on is the source's own fault."""
        framework = self.frameworks.get(source.facts.framework)
        if framework is None or framework.name in self._built_in:
            return
        problem = problem_of_source(framework, source)
        if problem is not None:
            raise PluginError(self._broken(framework, problem)) from error

    def _meant_by(self, target: object) -> Framework | None:
        if isinstance(target, type):
            return self.framework_of(target)
        module = getattr(target, "__name__", "").partition(".")[0]
        return next((framework for framework in self.frameworks.values() if framework.module == module), None)

    def _known(self) -> str:
        return "one of " + ", ".join(sorted(self.frameworks))

    def _unknown(self, name: object, tag: str) -> str:
        import difflib

        close = difflib.get_close_matches(str(name), self.frameworks, n=1, cutoff=0.5)
        fix = (
            f"did you mean {close[0]!r}?" if close else f"install a plugin that brings it (entry point group {GROUP!r})"
        )
        lines = sorted(framework.install for framework in self.frameworks.values() if "[" in framework.install)
        return message(tag, f"no framework {name!r} is known", want=self._known(), fix="; or ".join([fix, *lines]))

    def _broken(self, framework: Framework, problem: str) -> str:
        plugin = self.manager.get_name(self._owners.get(framework.name)) or framework.name
        return message(f"plugin {plugin!r}", problem, fix="report it to the authors of the plugin")

    # ---------------------------------------------------------------------------------------------------- watching

    def watch(self, change: int) -> None:
        """Count a recorder in (+1) or out (-1)."""
        with self._lock:
            self._watchers += change
            self._refill()

    def converted(self, receipt: Receipt) -> None:
        """Tell the observers."""
        for observer in reversed(self.manager.hook.bridge_converted.get_hookimpls()):
            try:
                observer.function(*[receipt for _ in observer.argnames])
            except Exception as error:
                text = f"bridge: plugin {observer.plugin_name!r} failed to observe a conversion: {_one_line(error)}"
                warnings.warn(text, PluginWarning)

    # --------------------------------------------------------------------------------------------------- shortcuts

    def row(self, target: str) -> dict[type, Shortcut]:
        """The live shortcuts into `target`: the same dictionary for the life of the process."""
        return self.rows.setdefault(target, {})

    def learn(self, target: Framework, source: Framework, kind: type) -> None:
        """Remember the shortcut from arrays of exactly `kind`, if the target's plugin has one for its framework."""
        if f"{kind.__module__}.{kind.__qualname__}" not in source.types:
            return
        key = (target.name, source.name)
        made = self._made  # another one, when somebody registers meanwhile
        if key not in made:
            maker = target.shortcuts.get(source.name)
            made[key] = maker() if maker is not None else None  # outside the lock: it imports frameworks
        shortcut = _itself if target is source else made[key]
        if shortcut is None:
            return
        with self._lock:
            if any(self.frameworks.get(each.name) is not each for each in (target, source)):
                return  # unregistered meanwhile
            self._learned.setdefault(target.name, {})[kind] = shortcut
            self._refill()

    def _refill(self) -> None:
        self.watched = (
            self._watchers > 0
            or bool(self.manager.hook.bridge_converted.get_hookimpls())
            or any(self._around(hook) for hook in ("bridge_import", "bridge_export"))
        )
        for row in list(self.rows.values()):
            row.clear()
        if not self.watched:
            for target, shortcuts in self._learned.items():
                self.row(target).update(shortcuts)


def _itself(array: Any) -> Any:
    return array


def _no_answer(**_: object) -> None:
    """In the place of a hook that the owner of a framework lacks."""


def _manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager("bridge")
    manager.add_hookspecs(hookspecs)
    return manager


def _entry_points() -> tuple[list[EntryPoint], list[Health]]:
    """The entry points of the group, and the distributions whose entry points cannot be read."""
    from importlib.metadata import distributions, entry_points  # slow to import, and needed only now

    try:
        return list(entry_points(group=GROUP)), []
    except Exception:  # one damaged file of any distribution: ask them one by one
        pass
    entries: dict[str, list[EntryPoint]] = {}
    damaged = []
    for distribution in distributions():
        name = str(distribution.metadata["Name"])
        try:
            entries.setdefault(name, list(distribution.entry_points.select(group=GROUP)))
        except Exception as error:
            problem = f"its entry points cannot be read: {_one_line(error)}"
            damaged.append(Health(name=name, origin="entry_points.txt", distribution=name, problem=problem))
    return [entry for found in entries.values() for entry in found], damaged


def _distribution(entry: EntryPoint) -> str:
    """Name and version of what brought the entry point; "" where that is not known."""
    try:
        return f"{entry.dist.name} {entry.dist.version}" if entry.dist else ""
    except Exception:  # damaged metadata
        return ""


def _one_line(error: BaseException) -> str:
    """Type and text of an error, fit for one line of a report."""
    return textwrap.shorten(f"{type(error).__name__}: {error}", 400, placeholder=" ...").removesuffix(":")


def _warn(rows: Iterator[Health]) -> None:
    """One warning for each plugin that cannot be used. Where warnings are errors, the first is raised, at the end."""
    raised: list[Warning] = []
    for row in rows:
        where = f"{row.origin}, {row.distribution}" if row.distribution else row.origin
        try:
            warnings.warn(f"bridge: plugin {row.name!r} ({where}) cannot be used: {row.problem}", PluginWarning)
        except PluginWarning as error:
            raised.append(error)
    if raised:
        for other in raised[1:]:
            raised[0].add_note(str(other))
        raise raised[0]


def _with_arguments(function: Hook, names: tuple[str, ...], hook: str) -> Hook:
    """`function`, called with the arguments it asks for: an implementation may take fewer than its specification."""
    if set(names) == set(getattr(hookspecs, hook).__annotations__) - {"return"}:
        return function
    return lambda **arguments: function(**{name: arguments[name] for name in names})


registry = Registry()
if hasattr(os, "register_at_fork"):  # a fork waits for the thread that loads or registers: the child has not got it
    _lock = registry._lock
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)
