"""The end of a call, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.text import Text

from app.cli.ingesting.report import Fate, Report, Result
from app.cli.ingesting.walking import LeftOut
from app.cli.remote.command import Session, sentence
from app.cli.remote.output import Output, clean
from app.core import wording

STYLES = {
    Fate.NEW: "green",
    Fate.UPDATED: "green",
    Fate.AMENDED: "green",
    Fate.FAILED: "red",
    Fate.UNSENT: "yellow",
}

#: Of failures of one kind, and of what was left out for one reason; --json has all of them.
SHOWN_OF_A_KIND = 10


def summarize(session: Session, report: Report, *, waited: bool) -> None:
    """Tell what became of everything."""
    out = session.out
    if out.as_json:
        out.json(report.as_json())
        return
    _tell_failures(out, report.failures)
    _tell_unreadable(out, report.unreadable)
    _tell_left_out(out, report.left_out)
    out.say(headline(report))
    if report.trouble is not None:
        out.note(sentence(report.trouble), style="red")
    if report.counts[Fate.UNSENT]:
        out.note("The same call again goes on from here.")
    under_way = sum(result.status in {"PENDING", "PROCESSING"} for result in report.results)
    if under_way and not waited:
        out.note(f"{wording.count(under_way, 'document')} under way; `sluice status` tells how they get on.")
    elif under_way:
        out.note(f"{wording.count(under_way, 'document')} under way: safe, and indexed without this call.")


def headline(report: Report) -> Text:
    """All in one line."""
    counts = report.counts
    told = [
        Text(f"{counts[fate]:,} {'not sent' if fate is Fate.UNSENT else fate}", style=STYLES.get(fate, ""))
        for fate in Fate
        if counts[fate]
    ]
    files = wording.count(len(report.results), "file")
    took = f" in {wording.duration(report.elapsed_s)}"
    if not told:
        return Text("No files.")
    return Text.assemble(f"{files}{took}: ", Text(", ").join(told))


def _tell_failures(out: Output, failures: Sequence[Result]) -> None:
    """By code, each with its hint once: a thousand scans have one cause."""
    by_code: dict[str, list[Result]] = {}
    for result in failures:
        assert result.trouble is not None
        by_code.setdefault(result.trouble.code, []).append(result)
    for code, some in by_code.items():
        out.say(Text.assemble((code, "bold red"), f" ({wording.count(len(some), 'file')})"))
        out.pairs(map(_failure, some[:SHOWN_OF_A_KIND]), indent=2)
        if (more := len(some) - SHOWN_OF_A_KIND) > 0:
            out.say(f"  … and {more:,} more; --json has all of them")
        hint = some[0].trouble.hint if some[0].trouble else ""
        if hint:
            out.say(Text.assemble("  ", (f"→ {clean(hint)}", "italic")))


def _failure(result: Result) -> tuple[str, str]:
    message = clean(result.trouble.message) if result.trouble else ""
    return clean(result.file.label), f"{message} {result.document_id or ''}".rstrip()


def _tell_unreadable(out: Output, unreadable: Sequence[LeftOut]) -> None:
    for each in unreadable[:SHOWN_OF_A_KIND]:
        out.say(Text(f"{clean(each.path)} cannot be read: {each.reason}", style="red"))
    if (more := len(unreadable) - SHOWN_OF_A_KIND) > 0:
        out.say(f"… and {more:,} more")


def _tell_left_out(out: Output, left_out: Sequence[LeftOut]) -> None:
    for reason, number in Counter(each.reason for each in left_out).items():
        names = [clean(each.name) for each in left_out if each.reason == reason][:3]
        more = ", …" if number > len(names) else ""
        out.note(f"Left out, {reason}: {', '.join(names)}{more} ({number:,})", style="dim")
