"""`psad store`: users and their histories by id, for services with RERANK_STORE."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import typer
from rich.console import Console

from features.errors import PsadError

if TYPE_CHECKING:
    from data.users import People, Person
    from service.store.base import Store

T = TypeVar("T")

BATCH: Final = 500  # users that are written together
PATIENCE: Final = 10.0  # seconds that a store may be away in the middle
_ROWS: Final = 100  # of a table that take as long as a user does here: whether a bar is worth it

app = typer.Typer(no_args_is_help=True)
STORE = typer.Argument(metavar="STORE", help="file:PATH or redis://HOST:PORT/DATABASE.")


class StoreFailed(PsadError):
    """A store that does not answer."""


@app.callback()
def store() -> None:
    """Keep users and histories by id.

    Services that are started with --store read them, so that callers may send ids alone.

    \b
    Examples:
      psad store load redis://127.0.0.1:6379/0 datasets/mine
      psad store load file:users.db my_logs/users.csv
      psad store show file:users.db 42
      psad store delete file:users.db 42
    """


@app.command()
def load(
    store: Annotated[str, STORE],
    source: Annotated[
        Path, typer.Argument(metavar="DATASET|USERS.csv", help="A prepared dataset, or a table.")
    ],
    replace: Annotated[
        bool, typer.Option("--replace", help="Put histories in place of those that are there.")
    ] = False,
    days: Annotated[
        float, typer.Option(min=0, help="After which users expire without an event; 0: never.")
    ] = 90.0,
) -> None:
    """Fill a store with users.

    Of a prepared dataset: features, and the history after each user's last list. Of a table of
    users (CSV or Parquet, with the schema.toml of `psad prepare` beside it): features. Features
    replace those that are there. Of a history only what is older than all that is there is added,
    so that a click that the service was told of counts once; where nobody sends /events, say
    --replace. What was interrupted may be run again.

    \b
    Examples:
      psad store load redis://127.0.0.1:6379/0 datasets/mine
      psad store load file:users.db my_logs/users.csv
    """
    from data.users import people_of

    people = people_of(source)
    with_history = _using(store, days, lambda one: _loaded(one, people, replace))
    Console().print(
        f"{people.count:,} users of {source} are in the store, {with_history:,} with a history",
        highlight=False, soft_wrap=True,
    )  # fmt: skip


async def _loaded(store: Store, people: People, replace: bool) -> int:
    """Write all of them, a batch at a time; how many had a history."""
    from data.progress import bar
    from service.store.record import KEPT, Change, Event

    def change(one: Person) -> Change:
        events = [Event(item, when) for item, when in one.history]
        return Change(one.features, events, "replace" if replace else "fill")

    await store.ping()
    with_history = 0
    with bar("loading", people.count, "user", rows=_ROWS * people.count) as progress:
        while batch := list(islice(people.persons, BATCH)):
            changes = {one.id: change(one) for one in batch}
            await _patiently(lambda: store.write(changes, KEPT * people.max_history))  # noqa: B023
            with_history += sum(bool(one.history) for one in batch)
            progress.update(len(batch))
    return with_history


async def _patiently(write: Callable[[], Awaitable[object]]) -> None:
    """A store that is started again meanwhile need not be the end of a long load."""
    from service.store.base import Unavailable

    end = time.monotonic() + PATIENCE
    while True:
        try:
            await write()
            return
        except Unavailable:
            if time.monotonic() > end:
                raise
            await asyncio.sleep(0.5)


@app.command()
def show(
    store: Annotated[str, STORE],
    user: Annotated[str, typer.Argument(metavar="USER", help="The user's id.")],
) -> None:
    """Print what is kept of a user."""
    from service.store.record import history

    row = _using(store, 0, lambda one: one.row(user))
    if row is None:
        raise StoreFailed("nothing is kept of this user.")
    events = [{"item_id": one.item, "timestamp": one.time} for one in history(row)]
    kept = {"user_id": user, "features": json.loads(row.features or b"null"), "history": events}
    typer.echo(json.dumps(kept, ensure_ascii=False, indent=1))


@app.command()
def delete(
    store: Annotated[str, STORE],
    user: Annotated[str, typer.Argument(metavar="USER", help="The user's id.")],
) -> None:
    """Forget a user."""
    found = _using(store, 0, lambda one: one.delete(user))
    typer.echo("the user is forgotten" if found else "nothing was kept of this user")


def _using(url: str, days: float, work: Callable[[Store], Awaitable[T]]) -> T:
    """Do something with a store; raises StoreFailed where it does not answer."""
    from service.store.base import Unavailable
    from service.store.choose import open_store
    from service.store.record import Unreadable

    async def run() -> T:
        store = open_store(url, days)
        try:
            return await work(store)
        finally:
            await store.close()

    try:
        return asyncio.run(run())
    except Unavailable as error:
        raise StoreFailed(
            f"the store does not answer ({error}). What was written before stays; run it again."
        ) from None
    except Unreadable as error:
        raise StoreFailed(f"what is kept of this user cannot be read: {error}.") from None


def add_store(psad: typer.Typer) -> None:
    """Register the verb."""
    psad.add_typer(app, name="store")
