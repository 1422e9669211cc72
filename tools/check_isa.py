"""Proves on the built object files that no code crosses between the SIMD levels.

`python tools/check_isa.py build` looks for the objects that CMake (bridge_v2.dir and so on) or tests/native/build.py
(isa_v2) made, and asserts of each:

- v2 objects name no ymm or zmm register, v3 objects no zmm and no mask register: they run on the machines they are for;
- no weak symbol: the linker keeps one copy of a weak function for everybody, perhaps the AVX-512 one;
- what other objects can see belongs to the level's own namespace;
- the stages of the register pipeline contain no call: eight vectors stay in registers from stage to stage.

Needs nm and objdump (binutils).
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

FOLDER = re.compile(r"^(?:bridge_|isa_)(v2|v3|v4|v4_bf16|neon|generic)(?:\.dir)?$")
FORBIDDEN = {"v2": re.compile(r"%[yz]mm\d"), "v3": re.compile(r"%zmm\d|%k[0-7]\b|%[xy]mm(?:1[6-9]|2\d|3[01])")}
FUNCTION = re.compile(r"^[0-9a-f]+ <(.*)>:$")
STAGE = re.compile(r"::(?:wide|narrow)::(?!start\b|fill\b)")
CALL = re.compile(r"\t(?:call|callq|bl|blr)\b")
SYMBOL = re.compile(r"^(?:[0-9a-f]+)?\s+([A-Za-z]) (.*)$")


def level_of(path: Path) -> str | None:
    """The SIMD level whose folder the object lies in."""
    for parent in path.parents:
        match = FOLDER.match(parent.name)
        if match:
            return match.group(1)
    return None


def output_of(*command: str) -> list[str]:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def wrong_symbols(path: Path) -> list[str]:
    """Weak symbols, and visible ones outside of the namespaces of the levels."""
    problems = []
    for line in output_of("nm", "-C", str(path)):
        match = SYMBOL.match(line)
        if match is None:
            continue
        kind, name = match.groups()
        if kind in "WwVvu":
            problems.append(f"weak symbol {name}")
        elif kind in "TDBRGS" and "::isa_" not in name:
            problems.append(f"visible symbol outside of an ISA namespace: {name}")
    return problems


def wrong_instructions(path: Path, level: str) -> tuple[list[str], int]:
    """Registers that the level must not use, calls in stages; and the number of stages seen."""
    problems, function, stages = [], "", 0
    forbidden = FORBIDDEN.get(level)
    for line in output_of("objdump", "-d", "-C", "--no-show-raw-insn", str(path)):
        match = FUNCTION.match(line)
        if match:
            function = match.group(1)
            stages += STAGE.search(function) is not None
        elif forbidden and forbidden.search(line):
            problems.append(f"{function.split('(')[0]}: {line.strip()}")
        elif CALL.search(line) and STAGE.search(function):
            problems.append(f"a stage calls: {function}: {line.strip()}")
    return problems, stages


def check(folder: Path) -> int:
    """Number of problems; prints them."""
    objects = [(path, level) for path in sorted(folder.rglob("*.o")) if (level := level_of(path)) is not None]
    if not objects:
        print(f"[check_isa] no object file of a SIMD level.\n  got:  {folder}\n  want: a build folder of CMake")
        return 1
    problems, stages = 0, 0
    for path, level in objects:
        instructions, seen = wrong_instructions(path, level)
        stages += seen
        found = wrong_symbols(path) + instructions
        problems += len(found)
        for text in found[:20]:
            print(f"{path}: {text}")
    if stages == 0:
        print(f"[check_isa] no stage of the register pipeline in {len(objects)} objects: were they renamed?")
        problems += 1
    print(f"check_isa: {len(objects)} objects, {stages} stages, {problems} problems")
    return problems


if __name__ == "__main__":
    sys.exit(min(check(Path(sys.argv[1] if len(sys.argv) > 1 else "build")), 1))
