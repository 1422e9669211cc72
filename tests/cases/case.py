"""One known way in which an exchange of arrays goes wrong, and what bridge promises instead.

The modules of this folder begin with a table of these. `tools/make_cases.py` makes docs/cases.md of them, and sees to
it that every case that can be held today has a test that carries its id.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """A row of docs/cases.md.

    id:        a letter for the family and two digits; tests are named test_<id>_<claim>.
    elsewhere: what happens without bridge, in one short sentence.
    rule:      what bridge does instead.
    sources:   public reports, "owner/repository#number" or an address.
    needs:     hardware without which nothing can be shown ("CUDA", "Metal", "arm64"); None: none.
    later:     what of bridge has to exist first ("transforms", "files"); None: nothing.
    """

    id: str
    elsewhere: str
    rule: str
    sources: tuple[str, ...]
    needs: str | None = None
    later: str | None = None
