"""The suite passes honest plugins of every kind, and finds every lie with words that its author can act on."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree

import pytest
from plugins import crates

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str | None]]:
    """Class -> test -> the text of its failure or None: what another pytest says of the suites in run_crates.py."""
    report = tmp_path_factory.mktemp("crates") / "report.xml"
    wanted = [f"Test{plugin.__name__}" for plugin in crates.HONEST]
    wanted += [f"Test{plugin.__name__}::{test.partition('[')[0]}" for plugin, (test, _) in crates.LIARS.items()]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n0", "--tb=line", "-p", "no:cacheprovider", f"--junitxml={report}"]
        + [f"{HERE / 'run_crates.py'}::{name}" for name in wanted],
        capture_output=True,
        text=True,
        cwd=HERE.parents[1],
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr  # tests ran, and some failed
    found: dict[str, dict[str, str | None]] = defaultdict(dict)
    for case in ElementTree.parse(report).iter("testcase"):
        failure = next((each for each in case if each.tag in ("failure", "error")), None)
        text = None if failure is None else f"{failure.get('message')}\n{failure.text}"
        found[(case.get("classname") or "").rpartition(".Test")[2]][case.get("name") or ""] = text
    return found


@pytest.mark.parametrize("plugin", [plugin.__name__ for plugin in crates.HONEST])
def test_honest_plugins_pass(results, plugin: str):
    """Mutable, immutable, without read-only arrays, copying: nothing is asked of them that they did not declare."""
    failures = {name: text for name, text in results[plugin].items() if text is not None}
    assert not failures
    assert len(results[plugin]) > 80


@pytest.mark.parametrize("plugin", [plugin.__name__ for plugin in crates.LIARS])
def test_lies_are_found(results, plugin: str):
    """By the test that is about it; the text says what to change."""
    test, words = crates.LIARS[getattr(crates, plugin)]
    texts = [text for name, text in results[plugin].items() if name.startswith(test) and text is not None]
    assert texts, f"{test} passed; failed: {[name for name, text in results[plugin].items() if text]}"
    assert any(re.search(words, text, re.DOTALL) for text in texts), texts[0]
    assert any("fix:" in text for text in texts)
