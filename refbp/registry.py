"""Who registered what: plugins are loaded one at a time, asked one at a time, and a failure is kept as data.

Discovery goes in a fixed order: what is built in, installed packages by entry point (group ``refbp``), then single
files from the given folders and from ``REFBP_PLUGINS``. A plugin's entries are taken all or none. ``REFBP_BLOCK=a,b``
leaves plugins out by name; ``REFBP_STRICT=1`` turns the first failure into an exception.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib
import importlib.metadata
import importlib.util
import os
import pkgutil
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pluggy

from refbp import absent, hookspecs
from refbp.contract import Layer
from refbp.errors import PluginError, UnknownNameError, did_you_mean, listed
from refbp.spec import Case, Spec

if TYPE_CHECKING:
    from refbp.oracle.exercise import Course

HOOKS = {"refbp_layers": "layer", "refbp_losses": "loss"}
EXERCISES = "refbp_exercises"  # asked only when somebody checks a submission: courses take a while to set up


@dataclass(frozen=True)
class Entry:
    """One registered layer or loss, and the plugin that it came from."""

    spec: Spec
    kind: str
    plugin: str
    source: str
    file: str = ""  # the plugin file it came from, if it came from one

    @property
    def name(self) -> str:
        """The name it is looked up by."""
        return self.spec.name


@dataclass(frozen=True)
class Plugin:
    """One plugin: where it came from, and either what it provides or why it failed."""

    name: str
    version: str | None
    origin: str
    entries: tuple[Entry, ...] = ()
    error: str | None = None
    teaches: bool = False  # it has exercises, which are asked for when somebody checks a submission

    def provides(self) -> str:
        """What it provides, in a few words: the names while they are few, else how many."""
        if self.error is not None:
            return f"FAILED  {self.error}"
        exercises = ["exercises"] * self.teaches
        if 0 < len(self.entries) <= 3:
            return ", ".join([*(e.name for e in self.entries), *exercises])
        kinds = [e.kind for e in self.entries]
        words = {"layer": ("layer", "layers"), "loss": ("loss", "losses")}
        return ", ".join([*(f"{n} {words[k][n > 1]}" for k in words if (n := kinds.count(k))), *exercises])


class Registry:
    """The plugins that were found, and their layers and losses by name."""

    def __init__(self) -> None:
        self.plugins: list[Plugin] = []
        self.entries: dict[str, Entry] = {}
        self._teaching: list[tuple[str, ModuleType]] = []
        self._courses: dict[str, Course] | None = None
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)

    @property
    def failures(self) -> list[Plugin]:
        """The plugins that could not be used."""
        return [p for p in self.plugins if p.error is not None]

    def add(self, *specs: Spec, name: str = "added", kind: str = "layer") -> Plugin:
        """Register specs directly, as a test does; PluginError where they are not usable."""
        plugin = Plugin(name, None, "registry.add")
        entries = self._accepted(plugin, [(kind, s) for s in specs], source=name)
        plugin = dataclasses.replace(plugin, entries=entries)
        self._keep(plugin)
        return plugin

    def remove(self, name: str) -> None:
        """Forget a plugin and what it provides."""
        self.plugins = [p for p in self.plugins if p.name != name]
        self.entries = {n: e for n, e in self.entries.items() if e.plugin != name}

    def get(self, name: str) -> Entry:
        """The entry of that name; an UnknownNameError names the nearest one."""
        try:
            return self.entries[name]
        except KeyError:
            if why := absent.explanation(name):
                raise UnknownNameError(f"{why}.") from None
            raise UnknownNameError(unknown("layer or loss", name, list(self.entries))) from None

    @property
    def courses(self) -> dict[str, Course]:
        """The courses by name, asked for on first use; a plugin whose exercises contradict themselves is one that failed."""
        if self._courses is None:
            self._courses = found = {c.name: c for c in _built_in_courses()}
            for name, module in self._teaching:
                try:
                    found |= _taught(module, found)
                except Exception as error:
                    origin = next(p.origin for p in self.plugins if p.name == name)
                    failed = _sentence(error, origin)
                    self.plugins = [dataclasses.replace(p, error=failed) if p.name == name else p for p in self.plugins]
        return self._courses

    def select(self, names: Iterable[str] = (), only_plugin: str | None = None) -> list[Entry]:
        """The entries of these names, or all of them; an unknown name or plugin is an error."""
        entries = [self.get(n) for n in dict.fromkeys(names)] or list(self.entries.values())
        if only_plugin is not None:
            failed = next((p for p in self.failures if p.name == only_plugin), None)
            if failed:
                raise PluginError(f"plugin {only_plugin} failed: {failed.error}.")
            if only_plugin not in {p.name for p in self.plugins}:
                raise UnknownNameError(unknown("plugin", only_plugin, [p.name for p in self.plugins]))
            entries = [e for e in entries if e.plugin == only_plugin]
        return entries

    def load(self, name: str, version: str | None, origin: str, module: Callable[[], ModuleType], source: str) -> Plugin:
        """Load one plugin and take what it provides; whatever goes wrong is kept on the Plugin as a sentence."""
        plugin = Plugin(name, version, origin)
        loaded: ModuleType | None = None
        try:
            with contextlib.redirect_stdout(sys.stderr):  # a plugin's prints must not end up in --json
                if any(p.name == name for p in self.plugins):
                    taken = next(p for p in self.plugins if p.name == name)
                    raise PluginError(f"the plugin name {name} is taken by {taken.origin}: rename the file or entry point")
                loaded = module()
                given = self._asked(name, loaded)
                entries = self._accepted(plugin, given, source=source)
                plugin = dataclasses.replace(plugin, entries=entries, teaches=hasattr(loaded, EXERCISES))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit included: a plugin that exits must not take refbp with it
            plugin = dataclasses.replace(plugin, error=_sentence(error, origin))
        finally:
            if loaded is not None and self._manager.is_registered(loaded):
                self._manager.unregister(loaded)
        self._keep(plugin)
        return plugin

    def _keep(self, plugin: Plugin) -> None:
        self.plugins.append(plugin)
        self.entries.update({e.name: e for e in plugin.entries})

    def _asked(self, name: str, module: ModuleType) -> list[tuple[str, Any]]:
        """Everything the plugin's hooks yield, with generators exhausted here, where it is guarded."""
        if forgotten := [
            h for h in (*HOOKS, EXERCISES) if hasattr(module, h) and not hasattr(getattr(module, h), "refbp_impl")
        ]:
            raise PluginError(f"{listed(forgotten)} is not marked: write @hookimpl (from refbp import hookimpl) above it")
        self._manager.register(module, name)
        try:
            self._manager.check_pending()
        except pluggy.PluginValidationError:
            marked = [n for n, v in vars(module).items() if hasattr(v, "refbp_impl") and n not in (*HOOKS, EXERCISES)]
            raise PluginError(f"unknown hook {marked[0]}{did_you_mean(marked[0], [*HOOKS, EXERCISES])}") from None
        others = [p for p in self._manager.get_plugins() if p is not module]
        given = []
        for hook, kind in HOOKS.items():
            for answer in self._manager.subset_hook_caller(hook, others)():
                if isinstance(answer, Spec) or not isinstance(answer, Iterable):
                    raise PluginError(f"{hook} returned {type(answer).__name__}; wanted an iterable of Spec: yield each")
                given += [(kind, spec) for spec in answer]
        if hasattr(module, EXERCISES):
            self._teaching.append((name, module))
        elif not given:
            raise PluginError(
                "it contributes nothing: write refbp_layers or refbp_losses that yields Specs, or refbp_exercises"
            )
        return given

    def _accepted(self, plugin: Plugin, given: list[tuple[str, Any]], source: str) -> tuple[Entry, ...]:
        entries: dict[str, Entry] = {}
        for kind, spec in given:
            _check_spec(spec)
            file = plugin.origin if plugin.origin.endswith(".py") else ""
            entry = Entry(spec, kind, plugin.name, source, file)
            if clash := entries.get(entry.name) or self.entries.get(entry.name):
                raise PluginError(
                    f"the name {entry.name} is already taken by plugin {clash.plugin} ({clash.source}): rename the class"
                )
            entries[entry.name] = entry
        return tuple(entries.values())


def _built_in_courses() -> Iterator[Course]:
    from refbp import courses

    for info in pkgutil.iter_modules(courses.__path__):
        if not info.name.startswith("_"):
            yield from getattr(importlib.import_module(f"refbp.courses.{info.name}"), EXERCISES)()


def _taught(module: ModuleType, known: Mapping[str, Course]) -> dict[str, Course]:
    from refbp.oracle.exercise import Course

    found: dict[str, Course] = {}
    for course in getattr(module, EXERCISES)():
        if not isinstance(course, Course):
            raise PluginError(f"{EXERCISES} yields {course!r:.60}; wanted a Course")
        if course.name in known or course.name in found:
            raise PluginError(f"there is a course called {course.name} already: give it another name")
        found[course.name] = course
    return found


def unknown(what: str, name: str, known: list[str]) -> str:
    """The sentence for an unknown name: the nearest known one, or all of them while they are few."""
    hint = did_you_mean(name, known) or (f"; known: {listed(sorted(known))}" if len(known) <= 12 else "")
    more = "" if what == "plugin" else " (refbp list shows all)"
    return f"no {what} is called {name!r}{hint}{more}."


def _check_spec(spec: Any) -> None:
    if not isinstance(spec, Spec):
        raise PluginError(f"it yields {spec!r:.60}; wanted a Spec")
    cls = spec.layer
    if not (isinstance(cls, type) and issubclass(cls, Layer)):
        raise PluginError(f"Spec({cls!r:.60}): wanted a subclass of refbp.Layer")
    if "__dataclass_params__" not in vars(cls) or not vars(cls)["__dataclass_params__"].frozen:
        raise PluginError(f"{cls.__name__} is not a frozen dataclass: write @dataclass(frozen=True) above it")
    if not spec.cases:
        raise PluginError(f"{cls.__name__} has no cases: without one nothing is tested; give Spec at least one Case")
    for case in spec.cases:
        if not isinstance(case, Case) or type(case.layer) is not cls:
            raise PluginError(f"{cls.__name__}: {case!r:.80} is not a Case of {cls.__name__}")
    first = spec.cases[0].layer
    if both := set(first.inputs()) & {*first.params(), *first.buffers()}:
        raise PluginError(f"{cls.__name__} has an input and a state entry called {min(both)}: gradients go by name, rename one")


def _sentence(error: BaseException, origin: str) -> str:
    if isinstance(error, PluginError):
        return str(error)
    if isinstance(error, pluggy.PluginValidationError):
        return str(error).splitlines()[-1].strip()
    frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).name == Path(origin).name]
    frames = frames or [f for f in traceback.extract_tb(error.__traceback__) if "importlib" not in f.filename]
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    if isinstance(error, SyntaxError):
        where = f" ({Path(error.filename or origin).name}:{error.lineno})"
        return f"SyntaxError: {error.msg}{where}"
    return f"{type(error).__name__}: {error}{where}"


# Discovery ------------------------------------------------------------------------------------------------------------


def discover(plugins_dirs: Iterable[str | Path] = (), strict: bool | None = None) -> Registry:
    """A registry with everything that can be found. ``strict`` (or ``REFBP_STRICT=1``) raises on the first failure."""
    registry = Registry()
    blocked = {name.strip() for name in os.environ.get("REFBP_BLOCK", "").split(",") if name.strip()}
    strict = os.environ.get("REFBP_STRICT", "") not in ("", "0") if strict is None else strict
    _loading.append(registry)
    try:
        for name, version, origin, module, source in _candidates(plugins_dirs):
            if name not in blocked:
                plugin = registry.load(name, version, origin, module, source)
                if strict and plugin.error is not None:
                    raise PluginError(f"plugin {name} ({origin}) failed: {plugin.error}.")
    finally:
        _loading.remove(registry)
    return registry


Candidate = tuple[str, "str | None", str, Callable[[], ModuleType], str]


def _candidates(plugins_dirs: Iterable[str | Path]) -> Iterator[Candidate]:
    from refbp import __version__, cases

    for info in pkgutil.iter_modules(cases.__path__):
        name = f"refbp.{info.name}"
        yield name, __version__, "built in", _importer(f"refbp.cases.{info.name}"), name
    for point in sorted(importlib.metadata.entry_points(group="refbp"), key=lambda p: p.name):
        dist = point.dist.name if point.dist else point.value
        yield point.name, point.dist.version if point.dist else None, f"{dist} (entry point)", point.load, dist
    folders = [*plugins_dirs, *filter(None, os.environ.get("REFBP_PLUGINS", "").split(os.pathsep))]
    for folder in dict.fromkeys(Path(f) for f in folders):
        yield from _files(folder)


def _files(folder: Path) -> Iterator[Candidate]:
    if folder.is_file():
        files = [folder]
    elif folder.is_dir():
        files = sorted(p for p in folder.glob("*.py") if not p.name.startswith(("_", "test_", "conftest")))
    else:

        def missing() -> ModuleType:
            raise PluginError(f"{folder} does not exist: give a folder of plugin files, or one file")

        yield str(folder), None, str(folder), missing, str(folder)
        return
    for path in files:
        yield path.stem, None, str(path), _file_importer(path), path.name


def _importer(module: str) -> Callable[[], ModuleType]:
    return lambda: importlib.import_module(module)


def _file_importer(path: Path) -> Callable[[], ModuleType]:
    def load() -> ModuleType:
        full = path.resolve()
        name = f"refbp_plugin_{full.stem}_{hashlib.sha1(str(full).encode()).hexdigest()[:8]}"
        spec = importlib.util.spec_from_file_location(name, full)
        if spec is None:
            raise PluginError(f"{path} is not a Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses looks its module up while the class is made
        try:
            # What the file says now: bytecode of an edit of the same size within the same second would pass for it
            exec(compile(full.read_bytes(), str(full), "exec", dont_inherit=True), module.__dict__)
        except BaseException:
            del sys.modules[name]
            raise
        return module

    return load


_current: Registry | None = None
_loading: list[Registry] = []


def current() -> Registry:
    """The process's registry, discovered on first use; while it is being discovered, what there is of it."""
    global _current  # noqa: PLW0603  # one registry per process, discovered when first asked for
    if _loading:  # a plugin looks a layer up by name: to discover again would not end
        return _loading[-1]
    if _current is None:
        _current = discover()
    return _current


def use(registry: Registry) -> Registry:
    """Make a registry the process's own."""
    global _current  # noqa: PLW0603  # one registry per process, discovered when first asked for
    _current = registry
    return registry


def get(name: str) -> type[Layer[Any]]:
    """The registered class of that name: ``refbp.get("Linear")``."""
    return current().get(name).spec.layer


def add(*specs: Spec, name: str = "added", kind: str = "layer") -> Plugin:
    """Register specs in the process's registry, as a test does."""
    return current().add(*specs, name=name, kind=kind)


def remove(name: str) -> None:
    """Forget a plugin of the process's registry."""
    current().remove(name)
