"""The command line: index, search, info, doctor.

Exit codes: 0 all is well; 1 the job failed or the doctor found something broken; 2 an argument or a file
was refused; 130 interrupted. What is refused is said in one line on stderr, without a traceback.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import tyro
from tyro.conf import FlagCreatePairsOff, Positional, arg

from .errors import AttributeValueError, FilterError, JobError, LabradorError

Device: TypeAlias = Literal["auto", "cpu", "cuda"]
Switch: TypeAlias = FlagCreatePairsOff[bool]
_ABOUT = "Find a person in a gallery from words, attributes, a photo, or a photo plus words."


def index(
    source: Positional[Path],
    /,
    *,
    bundle: Path,
    gallery: Annotated[str, arg(metavar="PATH")],
    max_failures: int = 100,
    report: Annotated[Path | None, arg(metavar="FILE.csv")] = None,
    device: Device = "auto",
    strict: Switch = False,
    json: Switch = False,
) -> int:
    """Index a folder of pictures, or a CSV or Parquet list, into a gallery.

    Started again it goes on: what is there and unchanged is skipped, changed files and metadata are
    updated, new files come last. A picture that can't be read is counted as corrupt and doesn't stop the
    job until there are more than --max-failures. Exit code 0: every listed file is ok, updated, skipped,
    corrupt or refused, within the budget, and the gallery grew by the ok ones; else 1.

    Args:
        source: A folder (read with its subfolders; id = path relative to it), or a .csv or .parquet list
            with a column path, if wanted id, and any others as metadata.
        bundle: The model.
        gallery: The gallery; made when it isn't there.
        max_failures: Stop when more files than this are corrupt or refused.
        report: Write a line per file: id, path, status, reason.
        device: Where the model runs; auto takes a GPU that answers.
        strict: Fail rather than run elsewhere than asked for.
        json: Progress and result as JSON lines on stdout.
    """
    from . import jobs, progress

    with progress.shown(json) as say:
        done = jobs.index(
            source, bundle, gallery,
            device=device, strict=strict, max_failures=max_failures, report=report, progress=say,
        )  # fmt: skip
    if json:
        _print_json({"event": "result", **asdict(done)})
    else:
        from .tables import job_summary

        print(job_summary(done, report))
    return 0


def search(
    *,
    bundle: Path,
    gallery: Annotated[str, arg(metavar="PATH")],
    text: Annotated[str | None, arg(metavar="WORDS")] = None,
    image: Annotated[Path | None, arg(metavar="FILE")] = None,
    attributes: Annotated[tuple[str, ...], arg(metavar="SLOT=VALUE …")] = (),
    without: Annotated[str | None, arg(metavar="WORDS")] = None,
    compose: Literal["auto", "sum"] = "auto",
    k: int = 10,
    where: Annotated[str | None, arg(metavar="JSON")] = None,
    min_score: Annotated[float | None, arg(metavar="SCORE")] = None,
    explain: Switch = False,
    sheet: Annotated[Path | None, arg(metavar="FILE.png")] = None,
    device: Device = "auto",
    json: Switch = False,
) -> int:
    """Search a gallery by --text, --image, --attributes, or --image with --text.

    Args:
        bundle: The model that filled the gallery.
        gallery: The gallery.
        text: What to look for, in words.
        image: A picture of what to look for.
        attributes: What to look for, such as gender=female bag=backpack; info BUNDLE lists what it knows.
        without: Words for what it should not be.
        compose: How --image and --text go together; sum adds them, for a bundle without a composer.
        k: How many hits.
        where: A filter on metadata, such as '{"camera": {"$ne": 3}}'.
        min_score: Leave out hits below this score.
        explain: Say of each hit what its score is made of and, where the bundle can tell, which of the
            --attributes it seems to have.
        sheet: Draw query and hits as a picture.
        device: Where the model runs; auto takes a GPU that answers.
        json: The hits as JSON on stdout.
    """
    asked = _slots(attributes)
    condition = _condition(where)
    from .recognition import tells
    from .retriever import Retriever

    with Retriever(bundle, gallery, device=device) as retriever:
        hits = retriever.search(
            text=text, image=image, attributes=asked, without=without, compose=compose,
            k=k, where=condition, min_score=min_score,
        )  # fmt: skip
        found = list(hits[0])
        told = retriever.explain(hits)[0] if explain else []
        recognised = tells(retriever.bundle)
        if sheet is not None:
            hits.save_sheet(sheet)
    if json:
        more = [one.to_json() for one in told] or [{} for _ in found]
        _print_json(
            [
                {"id": h.id, "score": h.score, "metadata": h.metadata, **one}
                for h, one in zip(found, more, strict=True)
            ]
        )
    elif not found:
        print("no hit")
    else:
        from .tables import hits_table

        hits_table(found)
        for one in told:
            print(f"\n{one}")
        if told and asked and not recognised:
            print("\nThis bundle can't tell which attributes a picture has: it has no graph for that.")
    return 0


def info(path: Positional[Path], /, *, json: Switch = False) -> int:
    """Say what a bundle or a gallery is.

    Args:
        path: The bundle or gallery.
        json: As JSON on stdout.
    """
    from .facts import describe

    facts = describe(path)
    if json:
        _print_json(facts)
    else:
        from .tables import facts_table

        facts_table(facts)
    return 0


def doctor(
    bundle: Positional[Path | None] = None, /, *, device: Device = "auto", json: Switch = False
) -> int:
    """Check this machine, and with a bundle, whether it computes what it should. Exit code 1: broken.

    Args:
        bundle: A model, to recompute its golden samples here.
        device: Where the model runs; auto takes a GPU that answers.
        json: The findings as JSON on stdout.
    """
    from .doctor import diagnose
    from .observe import examine_bundle, observe

    findings = diagnose(observe()) + ([] if bundle is None else examine_bundle(bundle, device))
    if json:
        _print_json([asdict(finding) for finding in findings])
    else:
        from .tables import findings_list

        findings_list(findings)
    return int(any(finding.state == "broken" for finding in findings))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code. ``arguments`` without the program's name (None: sys.argv)."""
    commands: dict[str, Callable[..., int]] = {
        "index": index,
        "search": search,
        "info": info,
        "doctor": doctor,
    }
    try:
        code: int = tyro.extras.subcommand_cli_from_dict(
            commands, prog="python -m sdk", description=_ABOUT, args=arguments
        )
        return code
    except LabradorError as error:
        _say_error(str(error))
        return 1 if isinstance(error, JobError) else 2
    except KeyboardInterrupt:
        _say_error("interrupted; an index command given again goes on where it was")
        return 130


def _slots(pairs: Sequence[str]) -> dict[str, str] | None:
    slots: dict[str, str] = {}
    for pair in pairs:
        slot, equals, value = pair.partition("=")
        if not (slot and equals and value) or "=" in value:
            raise AttributeValueError(
                f"attributes: got {pair!r}; write slot=value, such as gender=female, with spaces between them"
            )
        if slot in slots:
            raise AttributeValueError(f"attributes: {slot!r} is given twice")
        slots[slot] = value
    return slots or None


def _condition(where: str | None) -> dict[str, Any] | None:
    if where is None:
        return None
    try:
        condition = json.loads(where)
    except ValueError as error:
        raise FilterError(f"where: {where!r} isn't JSON ({error}); such as '{{\"camera\": 1}}'") from error
    if not isinstance(condition, dict):
        raise FilterError(f"where: got {where!r}; give a JSON object, such as '{{\"camera\": 1}}'")
    return condition


def _print_json(value: object) -> None:
    print(json.dumps(value, ensure_ascii=False, default=str), flush=True)


def _say_error(message: str) -> None:
    red, plain = ("\x1b[31m", "\x1b[0m") if sys.stderr.isatty() else ("", "")
    print(f"{red}error: {message}{plain}", file=sys.stderr)
