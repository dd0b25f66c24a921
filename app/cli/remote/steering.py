"""`sluice retry`, `cancel` and `delete`: of documents by their ids, or of all that a filter holds for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any
from uuid import UUID

import typer

from app.cli.remote.command import Session, error_as_json, require_collections, sentence
from app.cli.remote.completion import document_ids
from app.cli.remote.exits import ExitCode, is_unreachable
from app.cli.remote.options import (
    CodeOption,
    CollectionOption,
    StatusName,
    WrongCall,
    YesOption,
    require_codes,
)
from app.cli.remote.output import clean
from app.client import Sluice, SluiceError, Status
from app.client.errors import DocumentNotFound
from app.core import wording

IDsArgument = Annotated[
    list[UUID] | None,
    typer.Argument(metavar="[ID]...", help="Of documents.", autocompletion=document_ids),
]
StatusOption = Annotated[
    list[StatusName] | None,
    typer.Option("--status", "-s", case_sensitive=False, help="All with this status; can be repeated."),
]
#: Requests in the air at the same time, where there is one for each of many documents.
AT_ONCE = 8

UNDER_WAY: list[Status] = ["PENDING", "PROCESSING"]

#: The code of what was cancelled.
CANCELLED = "cancelled"


def retry(
    context: typer.Context,
    ids: IDsArgument = None,
    *,
    collection: CollectionOption = None,
    code: CodeOption = None,
    every: Annotated[bool, typer.Option("--all", help="All FAILED ones.")] = False,
) -> None:
    """Queue FAILED documents again.

    By their ids, or all that are FAILED in a collection or with a code. Of others, nothing is changed.
    """
    session = Session.of(context)
    _require_choice(ids, every or collection or code)
    with session.sluice() as sluice:
        if ids:
            _each(session, ids, partial(_retried, sluice), done="queued again")
            return
        retried = 0
        while True:
            answer = sluice.retry_failed(collection=collection, codes=code)
            retried += answer.retried
            if not answer.has_more:
                break
        if not retried:
            require_collections(sluice, collection)
            require_codes(code)
    _tell_number(session, "retried", retried, "queued again")


def cancel(
    context: typer.Context,
    ids: IDsArgument = None,
    *,
    collection: CollectionOption = None,
    every: Annotated[bool, typer.Option("--all", help="All that are not final.")] = False,
    yes: YesOption = False,
) -> None:
    """Give up documents that are not final yet.

    By their ids, or all that are PENDING or PROCESSING. They are FAILED with the code `cancelled`.
    """
    session = Session.of(context)
    _require_choice(ids, every or collection)
    with session.sluice() as sluice:
        if ids:
            _each(session, ids, partial(_cancelled, sluice), done="cancelled")
            return
        number = _counted(sluice, collection, UNDER_WAY)
        _require_yes(session, "Cancel", number, collection, yes=yes)
        found = (each.document_id for each in sluice.documents(status=UNDER_WAY, collection=collection))
        number = _all(session, found, partial(_cancelled, sluice), total=number)
    _tell_number(session, "cancelled", number, "cancelled")


def delete(
    context: typer.Context,
    ids: IDsArgument = None,
    *,
    collection: CollectionOption = None,
    status: StatusOption = None,
    code: Annotated[str | None, typer.Option(help="All FAILED ones with this error code.")] = None,
    prefix: Annotated[str | None, typer.Option(help="All whose external id begins so: a folder.")] = None,
    yes: YesOption = False,
) -> None:
    """Delete documents with every trace of them.

    By their ids, at once and without a question; or all that the options hold for, after one. A collection as
    a whole is deleted by `sluice collections delete`.
    """
    session = Session.of(context)
    _require_choice(ids, collection or status or code or prefix)
    with session.sluice() as sluice:
        if ids:
            _each(session, ids, partial(_deleted, sluice), done="deleted")
            return
        filters: dict[str, Any] = {
            "status": None if status is None else [each.value for each in status],
            "collection": collection,
            "error_code": code,
            "external_id_prefix": prefix,
        }
        # All of them are known before the first is gone: the question has their number.
        found = [each.document_id for each in sluice.documents(**filters, page_size=500)]
        if not found:
            require_collections(sluice, collection)
            require_codes(None if code is None else [code])
        _require_yes(session, "Delete", len(found), collection, yes=yes)
        number = _all(session, found, partial(_deleted, sluice), total=len(found))
    _tell_number(session, "deleted", number, "deleted")


def _require_choice(ids: Sequence[UUID] | None, is_filtered: object) -> None:
    if ids and is_filtered:
        raise WrongCall("Give either ids of documents or options that say which, not both.")
    if not ids and not is_filtered:
        raise WrongCall("Give ids of documents, or options that say which.")


@dataclass(frozen=True, slots=True)
class Became:
    """How a document is now, and whether that is what was wanted; if not, nothing was changed."""

    status: str
    is_done: bool = True


def _retried(sluice: Sluice, document_id: UUID) -> Became:
    status = sluice.retry(document_id).status
    # One that is FAILED was queued, and has failed again before this was answered.
    return Became(status, status != "COMPLETED")


def _cancelled(sluice: Sluice, document_id: UUID) -> Became:
    document = sluice.cancel(document_id)
    # One that had failed before is FAILED, too, of something else.
    return Became(document.status, document.error is not None and document.error.code == CANCELLED)


def _deleted(sluice: Sluice, document_id: UUID) -> Became:
    sluice.delete(document_id)
    return Became("DELETED")


def _each(
    session: Session,
    ids: Iterable[UUID],
    act: Callable[[UUID], Became],
    *,
    done: str,
) -> None:
    """Do it for each id and tell how it is now; one that cannot be keeps no other from it.

    Args:
        act: Does it.
        done: What to call it that it was done.
    """
    told: list[dict[str, Any]] = []
    for document_id in ids:
        try:
            became = act(document_id)
        except SluiceError as error:
            if is_unreachable(error):
                raise
            told.append({"document_id": str(document_id), "error": error_as_json(error)})
            said = sentence(error)
        else:
            told.append({"document_id": str(document_id), "status": became.status})
            said = f"{document_id} {done if became.is_done else f'is {became.status}: nothing was changed'}"
        if not session.out.as_json:
            session.out.say(said)
    if session.out.as_json:
        session.out.json(told)
    is_good = all("status" in each for each in told)
    raise typer.Exit(ExitCode.GOOD if is_good else ExitCode.FAILED)


def _all(
    session: Session,
    ids: Iterable[UUID],
    act: Callable[[UUID], Became],
    *,
    total: int,
) -> int:
    """Do it for all, some at a time, and tell how often it was done; see `_each`."""

    def acted(document_id: UUID) -> bool:
        try:
            return act(document_id).is_done
        except DocumentNotFound:
            return False  # It is gone meanwhile.

    done = 0
    with ThreadPoolExecutor(AT_ONCE) as pool, session.out.notes.status("") as shown:
        for number, was_done in enumerate(pool.map(acted, ids), 1):
            done += was_done
            shown.update(f"{number:,} of {total:,}")
    return done


def _counted(sluice: Sluice, collection: str | None, statuses: Sequence[Status]) -> int:
    # Not of the statistics, which a key with limits does not open.
    found = sluice.collections() if collection is None else [sluice.collection(collection)]
    return sum(each.documents.get(status, 0) for each in found for status in statuses)


def _require_yes(session: Session, verb: str, number: int, collection: str | None, *, yes: bool) -> None:
    where = f" of {clean(collection)}" if collection else ""
    if number and not confirm(f"{verb} {wording.count(number, 'document')}{where}", yes=yes):
        session.out.note("Nothing was done.")
        raise typer.Exit(ExitCode.FAILED)


def confirm(what: str, *, yes: bool) -> bool:
    """Whether a person wants it; asked on standard error, unless it was said before.

    Raises:
        WrongCall: There is nobody to ask.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        raise WrongCall(f"{what}? Nobody is there to ask: add --yes.")
    return typer.confirm(f"{what}?", err=True)


def _tell_number(session: Session, name: str, number: int, done: str) -> None:
    if session.out.as_json:
        session.out.json({name: number})
    else:
        session.out.say(f"{wording.count(number, 'document')} {done}.")
