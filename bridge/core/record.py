"""Plans, receipts, and the logs that collect them. Strings and numbers only: no receipt keeps an array alive."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from bridge.core.errors import human_bytes

__all__ = ["Log", "Plan", "Receipt"]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Plan:
    """What a conversion would do, by `bridge.explain`. Its text, in the interpreter too, is meant to be read."""

    source: str
    target: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int  # of the values; nothing is moved where they are shared
    outcome: Literal["shared", "copied", "refused"]
    route: str | None  # the door, as `via=` names it; None where it is refused
    rule: str  # the id of the rule that decided
    why: str
    converted: str | None = None  # the new dtype, if it is another one
    fix: str | None = None  # with outcome "refused": how to go on
    note: str | None = None  # what to mind in the target with this dtype

    @property
    def shared(self) -> bool:
        return self.outcome == "shared"

    @property
    def copied(self) -> bool:
        return self.outcome == "copied"

    @property
    def refused(self) -> bool:
        return self.outcome == "refused"

    @property
    def bytes_copied(self) -> int:
        """Bytes that move: 0 unless the outcome is "copied"."""
        return self.nbytes if self.copied else 0

    def __str__(self) -> str:
        route = f" by {self.route!r}" if self.route else ""
        size = f", {human_bytes(self.nbytes)}" if self.shape or not self.refused else ""
        head = f"{self.source} -> {self.target}: {self.outcome}{route}, {self._array()}{size}"
        lines = [head, f"  why:  {self.why}"]
        if self.fix:
            lines.append(f"  fix:  {self.fix}")
        if self.note:
            lines.append(f"  note: {self.note}")
        return "\n".join(lines)

    __repr__ = __str__

    def _array(self) -> str:
        shape = f"[{', '.join(map(str, self.shape))}]" if self.shape or not self.refused else ""  # it may have none
        array = f"{self.dtype}{shape}"
        return f"{array} as {self.converted}" if self.converted else array

    def cells(self) -> tuple[str, ...]:
        """The row of a table, in the order of COLUMNS."""
        route, size = self.route or "", human_bytes(self.nbytes)
        return (self.source, self.target, self._array(), route, self.outcome, size, self.why)


class Receipt(Plan):
    """What a conversion did."""

    __slots__ = ()


COLUMNS = ("from", "to", "array", "route", "outcome", "bytes", "why")


class Log:
    """Receipts in the order of the conversions; appending is safe from any thread."""

    def __init__(self, receipts: Iterable[Plan] = ()) -> None:
        self.receipts: list[Plan] = list(receipts)

    def append(self, receipt: Plan) -> None:
        self.receipts.append(receipt)

    def __iter__(self) -> Iterator[Plan]:
        return iter(self.receipts)

    def __len__(self) -> int:
        return len(self.receipts)

    def __getitem__(self, index: int) -> Plan:
        return self.receipts[index]

    @property
    def bytes_copied(self) -> int:
        return sum(receipt.bytes_copied for receipt in self.receipts)

    @property
    def bytes_shared(self) -> int:
        return sum(receipt.nbytes for receipt in self.receipts if receipt.shared)

    def __str__(self) -> str:
        """A table, a row per receipt, and the sums in the last line."""
        rows = [COLUMNS, *(receipt.cells() for receipt in self.receipts)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        lines.insert(1, "  ".join("-" * width for width in widths))
        return "\n".join([*lines, self._sums()])

    def __repr__(self) -> str:
        return f"<bridge.Log: {self._sums()}>"

    def _sums(self) -> str:
        shared, copied = (sum(receipt.outcome == kind for receipt in self.receipts) for kind in ("shared", "copied"))
        return (
            f"{len(self)} conversions: {shared} shared ({human_bytes(self.bytes_shared)}), "
            f"{copied} copied ({human_bytes(self.bytes_copied)})"
        )

    def html(self) -> str:
        """The table as a page that stands alone: no script, nothing loaded."""
        from html import escape

        head = "".join(f"<th>{escape(name)}</th>" for name in COLUMNS)
        body = "\n".join(_html_row(receipt) for receipt in self.receipts)
        return _PAGE.format(sums=escape(self._sums()), head=head, body=body)


def _html_row(receipt: Plan) -> str:
    from html import escape

    cells = "".join(f"<td>{escape(cell)}</td>" for cell in receipt.cells())
    return f'<tr class="{receipt.outcome}">{cells}</tr>'


_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>bridge: receipt of conversions</title>
<style>
  body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; color: #1c2024; }}
  h1 {{ font-size: 1.3rem; margin-bottom: 0; }}
  p {{ color: #5b6470; margin-top: .3rem; }}
  table {{ border-collapse: collapse; width: 100%; }}
  th, td {{ text-align: left; padding: .35rem .7rem; border-bottom: 1px solid #e3e6ea; vertical-align: top; }}
  th {{ color: #5b6470; font-weight: 600; }}
  td:nth-child(3), td:nth-child(4) {{ font-family: ui-monospace, monospace; font-size: .9em; }}
  td:nth-child(6) {{ white-space: nowrap; }}
  tr.shared td:nth-child(5) {{ color: #18794e; font-weight: 600; }}
  tr.copied td:nth-child(5) {{ color: #ad5700; font-weight: 600; }}
  tr.refused td:nth-child(5) {{ color: #c62a2f; font-weight: 600; }}
  @media (prefers-color-scheme: dark) {{
    body {{ background: #111316; color: #e6e8ea; }}
    th, td {{ border-color: #2a2e33; }}
    p, th {{ color: #9aa4af; }}
    tr.shared td:nth-child(5) {{ color: #4cc38a; }}
    tr.copied td:nth-child(5) {{ color: #ffa057; }}
    tr.refused td:nth-child(5) {{ color: #ff6369; }}
  }}
</style>
<h1>Receipt of conversions</h1>
<p>{sums}</p>
<table>
<thead><tr>{head}</tr></thead>
<tbody>
{body}
</tbody>
</table>
</html>
"""
