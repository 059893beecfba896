"""What the command line prints for people: hits, facts, the doctor's findings, the sum of a job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .doctor import Finding
from .progress import clock
from .types import Hit

if TYPE_CHECKING:
    from .jobs import JobReport

_SIGNS = {"ok": ("✓", "green"), "note": ("·", "yellow"), "broken": ("✗", "red")}


def hits_table(hits: Sequence[Hit]) -> None:
    """Place, score, id and metadata; what comes from outside is printed as it is, never as markup."""
    table = Table(box=None, pad_edge=False)
    for name, side in (("", "right"), ("score", "right"), ("id", "left"), ("metadata", "left")):
        table.add_column(name, justify=side, overflow="fold")  # type: ignore[arg-type]
    for place, hit in enumerate(hits, 1):
        shown = "  ".join(f"{key}={value}" for key, value in hit.metadata.items() if key != "path")
        table.add_row(str(place), f"{hit.score:.4f}", Text(str(hit.id)), Text(shown))
    Console().print(table)


def facts_table(facts: Mapping[str, Any]) -> None:
    """Name and value, a line each; nested facts a line per entry."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in facts.items():
        if isinstance(value, Mapping):
            shown = "\n".join(f"{key}: {_short(key, entry)}" for key, entry in value.items())
        else:
            shown = _short(name, value)
        table.add_row(Text(name), Text(shown))
    Console().print(table)


def findings_list(findings: Sequence[Finding]) -> None:
    """A sign, what was found, and below it what to type."""
    console = Console()
    for finding in findings:
        sign, colour = _SIGNS[finding.state]
        console.print(Text.assemble((sign, colour), " ", finding.what), soft_wrap=True)
        if finding.remedy:
            console.print(Text(f"    type: {finding.remedy}"), soft_wrap=True)
    broken = sum(finding.state == "broken" for finding in findings)
    console.print(Text(f"{broken} broken" if broken else "nothing is broken", "red" if broken else "green"))


def job_summary(done: JobReport, report: object = None) -> str:
    """What a job did, in a few lines of text."""
    rate = (done.total - done.skipped) / max(done.seconds, 1e-9)
    lines = [
        f"{done.total:,} files in {clock(done.seconds)}: {done.ok:,} ok, {done.updated:,} updated, "
        f"{done.skipped:,} skipped (already there), {done.corrupt:,} corrupt, {done.refused:,} refused"
        + (f" · {rate:,.0f} files/s" if done.total > done.skipped else ""),
        f"the gallery holds {done.rows:,} rows",
    ]
    if done.failures:
        lines += [f"not indexed:{'' if report else ' (--report FILE.csv writes a line per file)'}"]
        lines += [f"  {id}: {reason}" for id, reason in done.failures]
        more = done.corrupt + done.refused - len(done.failures)
        lines += [f"  … and {more:,} more"] if more else []
    if done.ignored:
        passed = ", ".join(f"{count:,} {what}" for what, count in sorted(done.ignored.items()))
        lines.append(f"passed over, not pictures by their suffix: {passed}")
    if done.gone:
        lines.append(f"{done.gone:,} pictures of earlier runs are no longer listed; they stay in the gallery")
    return "\n".join(lines)


def _short(name: str, value: Any) -> str:
    if name == "checks":  # the gate's, some forty of them; as JSON they are shown whole
        return f"{sum(check['passed'] for check in value)} of {len(value)} hold"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, int) and not isinstance(value, bool) and (name == "bytes" or value >= 10_000):
        return f"{value:,}" + (" bytes" if name == "bytes" else "")
    return "-" if value is None else str(value)
