"""`python -m bridge doctor`: what works here, told apart from what is missing and what is broken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from isolated import run_code

import bridge
from bridge.cli import doctor, main

Rows = dict[str, dict[str, str]]


def by_name(findings: dict[str, list[dict[str, str]]], section: str) -> Rows:
    return {row["name"]: row for row in findings[section]}


def run(*words: str, paths: tuple[Path, ...] = (), **environment: str) -> subprocess.CompletedProcess[str]:
    found = [str(path) for path in paths] + [path for path in sys.path if path]
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(found), **environment}
    command = [sys.executable, "-m", "bridge", "doctor", *words]
    return subprocess.run(command, capture_output=True, text=True, env=variables, timeout=300, check=False)


# ----------------------------------------------------------------------------------------------------- a sound machine


@pytest.fixture(scope="module")
def sound() -> subprocess.CompletedProcess[str]:
    """All four frameworks, as they are installed for the tests."""
    return run("--json", BRIDGE_ISA="")


def test_what_works_is_ok(sound):
    """Frameworks, plugins and doors are all right, and the exit status says so."""
    findings = json.loads(sound.stdout)
    assert sound.returncode == 0, sound.stdout
    for name in ("numpy", "torch", "jax", "tensorflow"):
        row = by_name(findings, "frameworks")[name]
        assert (row["mark"], row["state"] != "") == ("ok", True), row
        assert by_name(findings, "plugins")[name]["detail"] == "built-in"


@pytest.mark.parametrize(
    ("way", "how"),
    [
        ("bridge -> torch", "shared by exchange"),
        ("torch -> bridge", "shared by exchange"),
        ("bridge -> jax", "shared by direct"),
        ("jax -> bridge", "shared by direct"),
        ("bridge -> tensorflow", "shared by capsule"),
        ("tensorflow -> bridge", "shared by capsule"),
        ("bridge -> numpy", "shared by buffer"),
        ("numpy -> bridge", "shared by buffer"),
        ("numpy.asarray(float32)", "shared"),
        ("numpy.asarray(bfloat16)", "shared"),
    ],
)
def test_the_fast_doors_are_tried(sound, way: str, how: str):
    """Each is opened with values that are known, and named."""
    row = by_name(json.loads(sound.stdout), "doors")[way]
    assert (row["mark"], row["state"]) == ("ok", how), row


def test_the_machine_is_described(sound):
    """Threads, SIMD level, alignment, versions, and why there is no Metal."""
    rows = by_name(json.loads(sound.stdout), "bridge")
    assert rows["bridge"]["state"] == bridge.__version__
    assert rows["threads"]["state"] == str(bridge.core._native.thread_count())
    assert rows["SIMD level"]["state"] in ("v2", "v3", "v4", "neon", "generic")
    assert rows["memory"]["state"] == "64-byte aligned"
    assert {"Python", "numpy", "ml_dtypes", "pluggy"} <= rows.keys()
    assert rows["Metal"]["detail"] == bridge.metal.reason()


def test_alignment_is_what_was_seen(sound):
    """What decides whether jax and tensorflow can share stands beside each framework."""
    rows = by_name(json.loads(sound.stdout), "frameworks")
    assert "begin on 64-byte boundaries" in rows["torch"]["detail"]
    assert "has no complex128, float64, int64, uint64" in rows["jax"]["detail"]


# ----------------------------------------------------------------------------------------------------- a broken machine


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """torch cannot be imported, jax kills its process, tensorflow is not there, and a plugin does not load."""
    place = tmp_path_factory.mktemp("broken")
    files = {
        "torch/__init__.py": "raise ImportError('libtorch.so: no such file\\nand more')",
        "jax/__init__.py": "import os; os.abort()",
        "sitecustomize.py": "import sys; sys.modules.update(tensorflow=None, mlx=None, pyarrow=None)",
        "lame.py": "raise RuntimeError('it limps')",
        "lame-0.3.dist-info/METADATA": "Metadata-Version: 2.1\nName: lame\nVersion: 0.3\n",
        "lame-0.3.dist-info/entry_points.txt": "[bridge.plugins]\nlame = lame\n",
    }
    for name, text in files.items():
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_text(text)
    return run("--json", paths=(place,))


@pytest.mark.parametrize(
    ("section", "name", "mark", "words"),
    [
        ("frameworks", "torch", "broken", "ImportError: libtorch.so: no such file"),
        ("frameworks", "jax", "broken", "it ended its process (SIGABRT)"),
        ("frameworks", "tensorflow", "missing", "pip install"),
        ("frameworks", "numpy", "ok", "begin on"),
        ("plugins", "lame", "broken", "it limps"),
        ("plugins", "numpy", "ok", "built-in"),
    ],
)
def test_each_is_told_from_the_others(broken, section: str, name: str, mark: str, words: str):
    """One framework or plugin that does not work takes neither the doctor nor the others down."""
    row = by_name(json.loads(broken.stdout), section)[name]
    assert (row["mark"], words in row["detail"]) == (mark, True), row


def test_what_is_broken_shows_in_the_exit_status(broken):
    """1, so that a script can ask."""
    assert broken.returncode == 1


def test_a_plugin_that_ends_the_process(tmp_path: Path):
    """Then nothing can be tried, and that is said."""
    (tmp_path / "deadly.py").write_text("import os; os._exit(7)")
    (tmp_path / "deadly-1.dist-info").mkdir()
    (tmp_path / "deadly-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: deadly\nVersion: 1\n")
    (tmp_path / "deadly-1.dist-info" / "entry_points.txt").write_text("[bridge.plugins]\ndeadly = deadly\n")
    done = run(paths=(tmp_path,))
    assert done.returncode == 1
    assert "it ended its process (exit status 7)" in done.stdout


# ------------------------------------------------------------------------------------------------------------- in parts


def test_a_framework_that_does_not_answer(monkeypatch):
    """It is given up after the time limit, and broken."""

    def wait(command: list[str], *, timeout: float, **_: object) -> None:
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(subprocess, "run", wait)
    (plugins,) = next(section for section in doctor.diagnose(timeout=9) if section.title == "plugins").rows
    assert (plugins.mark, plugins.detail) == ("broken", "no answer within 9 seconds")


def test_a_fast_door_that_does_not_work():
    """Without torch's table of functions another door is taken: that works, is slower, and is said."""
    code = (
        "import torch; del torch.Tensor.__dlpack_c_exchange_api__;"
        "from bridge.cli import doctor, probe;"
        "print([doctor._way(way) for way in probe.framework('torch')['ways']])"
    )
    done = run_code(code)
    rows = eval(done.stdout, {"Row": doctor.Row})
    assert [(row.mark, row.name, row.state) for row in rows] == [
        ("slow", "bridge -> torch", "shared by dlpack"),
        ("slow", "torch -> bridge", "shared by dlpack"),
    ]
    assert all("exchange does not work with this version" in row.detail for row in rows)


def test_the_text_is_aligned(monkeypatch, capsys):
    """A mark, a name, a state and a detail, in columns; the last line sums up."""
    answers = {
        (): {
            "problem": "",
            "plugins": [
                {"name": "torch", "origin": "built-in", "distribution": "", "frameworks": ["torch"], "problem": ""}
            ],
            "frameworks": [
                {"name": "torch", "install": "pip install torch", "installed": True},
                {"name": "tensorflow", "install": "pip install tensorflow", "installed": False},
            ],
        },
        ("torch",): {
            "problem": "",
            "version": "2.13",
            "boundary": 64,
            "without": [],
            "protocols": [],
            "ways": [
                {
                    "source": "bridge",
                    "target": "torch",
                    "default": {"door": "dlpack", "outcome": "shared", "why": ""},
                    "bfloat16": None,
                    "doors": [
                        {"door": "exchange", "outcome": "unready", "why": "it does not work here"},
                        {"door": "dlpack", "outcome": "shared", "why": ""},
                        {"door": "buffer", "outcome": "copied", "why": ""},
                    ],
                }
            ],
        },
    }
    monkeypatch.setattr(doctor, "_asked", lambda *words, timeout: answers[words])
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert "\n  slow     bridge -> torch  shared by dlpack  exchange does not work with this version" in text
    assert "\n  missing  tensorflow                         pip install tensorflow\n" in text
    assert "\n  ok       torch            2.13              new arrays begin on 64-byte boundaries\n" in text
    assert text.endswith("all that is installed works\n")


def test_no_framework_is_imported_here():
    """The doctor itself stays out of reach of what it examines."""
    code = (
        "import sys; from bridge.cli import doctor; doctor._asked = lambda *words, timeout: {'problem': ''};"
        "doctor.diagnose(); print([name for name in ('torch', 'jax', 'tensorflow') if name in sys.modules])"
    )
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
        check=True,
    )
    assert done.stdout == "[]\n"
