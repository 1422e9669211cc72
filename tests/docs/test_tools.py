"""The repository's own checks find what they are there to find."""

import runpy
import textwrap
from pathlib import Path
from xml.etree import ElementTree

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"
check_imports = runpy.run_path(str(TOOLS / "check_imports.py"))["check"]
judge = runpy.run_path(str(TOOLS / "check_skips.py"))["judge"]
commands = runpy.run_path(str(TOOLS / "readme_commands.py"))["commands"]


@pytest.fixture
def package(tmp_path):
    """Writes {module path: source} as a package named bridge and returns the complaints about it."""

    def check(files):
        for name, source in files.items():
            path = tmp_path / "bridge" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(source), encoding="utf-8")
        return check_imports(tmp_path / "bridge")

    return check


def test_framework_import_at_module_level_is_found(package):
    """`import torch` on top of a plugin is a complaint that names line and module."""
    (complaint,) = package({"plugins/torch.py": "import torch\n"})
    assert "torch.py:1: bridge.plugins.torch imports torch at module level" in complaint


def test_framework_import_inside_a_function_is_fine(package):
    """A plugin imports its framework where it needs it."""
    assert package({"plugins/torch.py": "def probe():\n    import torch\n"}) == []


def test_upward_import_is_found_inside_a_function_too(package):
    """The pure decision must not know the verbs, not even lazily."""
    files = {"core/interop.py": "", "core/route.py": "def f():\n    from bridge.core import interop\n"}
    (complaint,) = package(files)
    assert "bridge.core.route imports bridge.core.interop" in complaint


def test_downward_and_type_checking_imports_are_fine(package):
    """interop may import route; route may name interop's types for the type checker."""
    files = {
        "core/interop.py": "from bridge.core.route import choose\n",
        "core/route.py": """\
            from typing import TYPE_CHECKING
            if TYPE_CHECKING:
                from bridge.core.interop import to
            """,
    }
    assert package(files) == []


def report(*cases):
    return ElementTree.fromstring(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>")


PASSED = '<testcase classname="a" name="b"/>'


@pytest.mark.parametrize(
    ("cases", "counts", "complaint"),
    [
        ([PASSED], (1, 0, 0), None),
        ([], (0, 0, 0), "no test ran"),
        ([PASSED, '<testcase name="c"><failure/></testcase>'], (1, 1, 0), "failed: None::c"),
        ([PASSED, '<testcase name="c"><skipped message="needs Metal: no Apple GPU"/></testcase>'], (1, 0, 1), None),
        ([PASSED, '<testcase name="c"><skipped message="flaky"/></testcase>'], (1, 0, 1), "without missing hardware"),
    ],
    ids=["good", "empty", "failure", "hardware", "other skip"],
)
def test_report_is_judged(cases, counts, complaint):
    """Only skips that name missing hardware pass, and a run without a passed test is refused."""
    *found, complaints = judge(report(*cases))
    assert tuple(found) == counts
    assert [complaint in text for text in complaints] == ([True] if complaint else [])


def test_readme_holds_its_two_commands():
    """One line each: the demo, then the tests."""
    found = commands((TOOLS.parent / "README.md").read_text(encoding="utf-8"))
    assert "examples/mixed_pipeline.py" in found["demo"]
    assert "pytest" in found["test"]
