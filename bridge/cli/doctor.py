"""Say what works on this machine: frameworks, plugins, the doors between them, alignment, threads, SIMD level.

Every framework is imported and tried in a process of its own, so one that ends its process is reported like any other.
Exit status 1: something that is installed is broken. What is not installed is fine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

import bridge
from bridge import metal
from bridge.cli.child import command
from bridge.core import _native

__all__ = ["Row", "Section", "add_arguments", "diagnose", "run"]

Mark = Literal["ok", "slow", "missing", "broken"]


@dataclass(frozen=True, slots=True)
class Row:
    """One thing and how it is. "slow": a detour is taken instead."""

    mark: Mark
    name: str
    state: str  # in a word or two
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    rows: list[Row] = field(default_factory=list)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.add_argument("--timeout", type=float, default=120, metavar="SECONDS", help="for each framework; 120")


def run(arguments: argparse.Namespace) -> int:
    """Print the findings. 1: something that is installed is broken."""
    sections = diagnose(timeout=arguments.timeout)
    broken = [row.name for section in sections for row in section.rows if row.mark == "broken"]
    if arguments.json:
        print(json.dumps({section.title: [asdict(row) for row in section.rows] for section in sections}, indent=2))
    else:
        print("\n".join(_lines(sections)))
        print(f"\nbroken: {', '.join(broken)}" if broken else "\nall that is installed works")
    return 1 if broken else 0


def diagnose(*, timeout: float = 120) -> list[Section]:
    """All findings. Imports no framework into this process."""
    listed = _asked(timeout=timeout)
    with ThreadPoolExecutor(max_workers=2) as pool:  # a process each: two at a time are enough to wait for
        installed = [each["name"] for each in listed.get("frameworks", []) if each["installed"]]
        findings = dict(zip(installed, pool.map(lambda name: _asked(name, timeout=timeout), installed), strict=True))
    ways = [way for found in findings.values() for way in found.get("ways", [])]
    protocols = [each for found in findings.values() for each in found.get("protocols", [])]
    return [
        Section("bridge", list(_machine())),
        Section("frameworks", list(_frameworks(listed, findings))),
        Section("plugins", list(_plugins(listed))),
        Section("doors", [_way(way) for way in ways] + [_protocol(found) for found in protocols]),
    ]


# ------------------------------------------------------------------------------------------------------------ sections


def _machine() -> Iterator[Row]:
    yield Row("ok", "bridge", bridge.__version__, os.path.dirname(bridge.__file__))
    yield Row("ok", "Python", platform.python_version(), f"{platform.system()} {platform.machine()}")
    for name in ("numpy", "ml_dtypes", "pluggy"):
        yield _required(name)
    yield _simd()
    threads, processors = _native.thread_count(), os.cpu_count()
    yield Row("ok", "threads", str(threads), f"of {processors} processors; as many as this process may use")
    address = _native.storage_address(bridge.zeros((1000,)))
    yield Row("ok" if address % 64 == 0 else "broken", "memory", "64-byte aligned", "as jax and tensorflow need it")
    yield Row("ok" if metal.is_available() else "missing", "Metal", "", metal.reason())


def _required(name: str) -> Row:
    try:
        return Row("ok", name, version(name))
    except PackageNotFoundError:
        return Row("broken", name, "no version", "it was imported, and is not installed")


def _simd() -> Row:
    wanted = os.environ.get("BRIDGE_ISA")
    why = f"BRIDGE_ISA={wanted}" if wanted else "the best that this processor has; BRIDGE_ISA sets another"
    return Row("ok", "SIMD level", _native.isa_name(), why)


def _frameworks(listed: dict[str, Any], findings: dict[str, dict[str, Any]]) -> Iterator[Row]:
    for each in listed.get("frameworks", []):
        name = each["name"]
        if name == "bridge":
            continue
        if not each["installed"]:
            yield Row("missing", name, "", each["install"])
        elif findings[name]["problem"]:
            yield Row("broken", name, "", findings[name]["problem"])
        else:
            yield Row("ok", name, findings[name]["version"], _properties(findings[name]))


def _properties(found: dict[str, Any]) -> str:
    boundary, without = found["boundary"], ", ".join(found["without"])
    memory = f"new arrays begin on {boundary}-byte boundaries"
    return f"{memory}; has no {without}" if without else memory


def _plugins(listed: dict[str, Any]) -> Iterator[Row]:
    if listed["problem"]:
        yield Row("broken", "plugins", "", listed["problem"])
    for each in listed.get("plugins", []):
        origin = f"{each['distribution']} ({each['origin']})" if each["distribution"] else each["origin"]
        if each["problem"]:
            yield Row("broken", each["name"], "", f"{origin}: {each['problem']}")
        else:
            yield Row("ok", each["name"], ", ".join(each["frameworks"]), origin)


def _way(way: dict[str, Any]) -> Row:
    """From one framework into another: what is done if nobody asks for more, and what `via=` can name."""
    name, default, halves = f"{way['source']} -> {way['target']}", way["default"], way["bfloat16"]
    tried = [(found["door"], found) for found in way["doors"]]
    broken = [
        f"{door}: {found['why']}"
        for door, found in [("", default), ("bfloat16", halves or default), *tried]
        if found["outcome"] == "broken"
    ]
    if broken:
        return Row("broken", name, "", "; ".join(broken).removeprefix(": "))
    unready = [door for door, found in tried if found["outcome"] == "unready"]
    notes = [f"{', '.join(unready)} does not work with this version"] if unready else []
    if default["outcome"] == "copied":
        notes.append(default["why"])
    if halves and _how(halves) != _how(default):
        notes.append(f"bfloat16 {_how(halves)}")
    others = [
        _how(found).removeprefix("shared by ") for door, found in tried if door not in (default["door"], *unready)
    ]
    if others:
        notes.append(f"also {', '.join(others)}")
    return Row("slow" if unready else "ok", name, _how(default), "; ".join(notes))


def _how(found: dict[str, Any]) -> str:
    return f"{found['outcome']} by {found['door']}"


def _protocol(found: dict[str, Any]) -> Row:
    """What a framework does by itself with a bridge array, without bridge.to."""
    return Row(
        "broken" if found["problem"] else "ok", found["call"], found["outcome"], found["problem"] or found["how"]
    )


# ------------------------------------------------------------------------------------------------------------- probing


def _asked(*words: str, timeout: float) -> dict[str, Any]:
    """The answer of bridge.cli.probe; under "problem", why there is none."""
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ}
    child = command("bridge.cli.probe", *words)
    try:
        done = subprocess.run(child, capture_output=True, text=True, timeout=timeout, env=environment, check=False)
    except subprocess.TimeoutExpired:
        return {"problem": f"no answer within {timeout:g} seconds"}
    if done.stdout:
        answer: dict[str, Any] = {"problem": ""} | json.loads(done.stdout)
        return answer
    return {"problem": f"it ended its process ({_end(done.returncode)}){_last(done.stderr)}"}


def _end(code: int) -> str:
    return f"exit status {code}" if code >= 0 else signal.Signals(-code).name


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f": {lines[-1]}" if lines else ""


# -------------------------------------------------------------------------------------------------------------- showing


def _lines(sections: Sequence[Section]) -> Iterator[str]:
    rows = [row for section in sections for row in section.rows]
    widths = [
        max(len(text) for text in texts) for texts in zip(*((r.mark, r.name, r.state) for r in rows), strict=True)
    ]
    for section in sections:
        if not section.rows:
            continue
        yield f"{section.title}" if section is sections[0] else f"\n{section.title}"
        for row in section.rows:
            cells = [cell.ljust(width) for cell, width in zip((row.mark, row.name, row.state), widths, strict=True)]
            yield f"  {'  '.join([*cells, row.detail])}".rstrip()
