"""Judge a pytest run by its JUnit report: tests ran, none failed, none was skipped without missing hardware.

Usage: python tools/check_skips.py REPORT.xml

A skip is accepted only when its reason names hardware of the table below. Everything else that a test cannot do it
must assert to raise, so that "skipped" never hides "broken". The last line printed is "N passed, N failed, N skipped".
"""

import re
import sys
from xml.etree import ElementTree

MISSING_HARDWARE = (
    r"needs Metal\b",  # an Apple GPU
    r"needs CUDA\b",  # an NVIDIA GPU
    r"needs arm64\b",
    r"needs x86-64(-v[234])?\b",  # a SIMD level that this processor lacks
    r"needs AVX-?512\b",
    r"needs a second device\b",
    r"needs a browser\b",  # BRIDGE_REQUIRE_BROWSER=1 makes it a failure
)


def judge(root: ElementTree.Element) -> tuple[int, int, int, list[str]]:
    """Counts of passed, failed and skipped tests, and the complaints (empty: the run is good)."""
    passed = failed = skipped = 0
    complaints = []
    for case in root.iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        skip = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
            complaints.append(f"failed: {name}")
        elif skip is not None:
            skipped += 1
            reason = skip.get("message") or ""
            if not any(re.search(pattern, reason) for pattern in MISSING_HARDWARE):
                complaints.append(f"skipped without missing hardware: {name}: {reason!r}")
        else:
            passed += 1
    if passed == 0:
        complaints.append("no test ran")
    return passed, failed, skipped, complaints


def main(path: str) -> int:
    passed, failed, skipped, complaints = judge(ElementTree.parse(path).getroot())
    for complaint in complaints:
        print(complaint)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if complaints else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
