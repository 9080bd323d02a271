"""The connection to MongoDB: one client, the collections with their concerns, the indexes and the schema's version.

Every write asks for `w: majority, j: true`; every read goes to the primary with read concern majority, because what is
read decides what is claimed next, what is a duplicate and what a client has missed. What the URI says about these is
overruled; all else of it holds (hosts, TLS, authentication, pool).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import pymongo
from pymongo import ASCENDING, DESCENDING, AsyncMongoClient, IndexModel, ReadPreference, WriteConcern
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError
from pymongo.monitoring import CommandListener
from pymongo.read_concern import ReadConcern

from hubbub.errors import StoreError
from hubbub.history.mongo_errors import as_store_error
from hubbub.history.mongo_log import Log

__all__ = ["CALL_TIMEOUT_MS", "DEFAULT_DATABASE", "Documents", "MongoServer", "place"]

Documents = AsyncCollection[dict[str, Any]]

DEFAULT_DATABASE: Final = "hubbub"

SCHEMA_VERSION: Final = 1
"""Raised with each change of the documents that an older version would not understand; `MIGRATIONS` has the way."""

CALL_TIMEOUT_MS: Final = 5_000
"""After this a call fails as `unavailable`, whatever it waited for: a server, a connection, an answer. Shorter than the
deadline of an event; an election may take longer, and then those who are refused come again.
"""

CONNECT_TIMEOUT_MS: Final = 3_000

POOL_MOST: Final = 32
"""How many connections a node has to a server, unless the URI says `maxPoolSize`. A call that took too long costs its
connection, and the server may be at work on it still when there is a new one. With the driver's 100 for each node,
twenty nodes took all the connections of a slow server, which kept it from recovering. Who waits for a connection costs
the server nothing. 32 calls of 5 ms each are 6,000 a second, more than the loop of a node gets through.
"""

CLOSE_S: Final = 1.0
"""Sessions that are not ended expire by themselves; nobody who stops a node waits for a server that hangs."""

WIRE_VERSION_LEAST: Final = 17
"""MongoDB 6.0. Older ones are past their end, and nothing was tried on them."""

TOMBSTONES_KEPT_S: Final = 86_400
"""How long a standing that says nothing any more stays (`mongo_intents`): far longer than a node can be late with the
writing of an older one, which is a few calls' timeouts.
"""

INDEXES: Final[dict[str, Sequence[IndexModel]]] = {
    "rooms": (
        IndexModel([("uid", ASCENDING)], name="uid"),
        IndexModel([("kind", ASCENDING), ("_id", ASCENDING)]),
        IndexModel([("pending.at", ASCENDING)], sparse=True),
        IndexModel([("unsaid.at", ASCENDING)], sparse=True),
    ),
    "log": (IndexModel([("n", ASCENDING)], unique=True),),
    "audit": (IndexModel([("at", DESCENDING), ("_id", DESCENDING)]),),
    "messages": (
        IndexModel([("room", ASCENDING), ("seq", ASCENDING)], unique=True),
        IndexModel([("room", ASCENDING), ("revs", ASCENDING)], unique=True),
        IndexModel([("room", ASCENDING), ("sender", ASCENDING), ("key", ASCENDING)], unique=True),
        IndexModel([("room", ASCENDING), ("rev", ASCENDING)]),
        IndexModel(
            [("words", ASCENDING), ("scope", ASCENDING), ("at", DESCENDING), ("seq", DESCENDING), ("room", DESCENDING)]
        ),
    ),
    "standings": (
        IndexModel([("room", ASCENDING), ("user", ASCENDING)], unique=True),
        IndexModel([("user", ASCENDING), ("room", ASCENDING)]),
        IndexModel([("room", ASCENDING), ("role", ASCENDING), ("joined_at", ASCENDING), ("user", ASCENDING)]),
        IndexModel([("ended", ASCENDING)], expireAfterSeconds=TOMBSTONES_KEPT_S),
    ),
}
"""Of each collection. Unique ones begin with the shard key, the room's uid, so that they hold on a sharded cluster; but
that of the log, which has one order for the whole service, and stays on one shard.

`room, seq` is a room in its order; `room, revs` lets no revision be claimed twice, and finds what a revision changed;
`room, sender, key` lets no message be sent twice; `room, rev` finds what changed after a revision, and the head.
`pending` and `unsaid` hold what was left half done (`mongo_mending`), nearly always nothing. `n` is the place of a
record in the log; its key is its `_id`. `words, scope, …` is searched by: the word comes first, since it tells most
messages apart, and after the scope comes the order of the answer.
"""


def place(uri: str) -> str:
    """The server as a log may show it: without user and password."""
    return urlsplit(uri).netloc.rpartition("@")[2] or uri.partition("://")[0]


class MongoServer:
    """The client and its collections. Made on the event loop; `connect` may be called again after it failed. `origin`
    is this process, in the control log.
    """

    def __init__(self, uri: str, *, listeners: Sequence[CommandListener] = (), origin: str = "") -> None:
        self._where = place(uri)
        pool: dict[str, Any] = {} if "maxpoolsize=" in uri.lower() else {"maxPoolSize": POOL_MOST}
        try:
            with warnings.catch_warnings():
                # An option that is misspelled would be passed over with a warning: TLS that is not on, for example.
                warnings.simplefilter("error", UserWarning)
                self.client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
                    uri,
                    appname="hubbub",
                    timeoutMS=CALL_TIMEOUT_MS,
                    connectTimeoutMS=CONNECT_TIMEOUT_MS,
                    event_listeners=list(listeners),
                    **pool,
                )
        except UserWarning as error:
            raise StoreError(f"The store at {self._where} cannot be used: {_option_of(error)}.") from None
        except (PyMongoError, ValueError) as error:
            raise StoreError(f"The store at {self._where} cannot be used: {_mistake_in(error)}.") from error
        self.database: AsyncDatabase[dict[str, Any]] = self.client.get_default_database(
            DEFAULT_DATABASE,
            read_preference=ReadPreference.PRIMARY,
            write_concern=WriteConcern(w="majority", j=True),
            read_concern=ReadConcern("majority"),
        )
        self.rooms: Documents = self.database["rooms"]
        self.messages: Documents = self.database["messages"]
        self.standings: Documents = self.database["standings"]
        self.people: Documents = self.database["people"]
        self.graveyard: Documents = self.database["graveyard"]
        self.meta: Documents = self.database["meta"]
        self.log = Log(self.database["log"], origin=origin)
        self.audit: Documents = self.database["audit"]
        self.bans: Documents = self.database["bans"]
        self.revocations: Documents = self.database["revocations"]
        self.beats: Documents = self.database["beats"]

    async def connect(self) -> None:
        """See that the server is one that keeps the promises, then migrate and make the indexes.

        Raises `StoreError` where only the operator can help, `HubbubError("unavailable")` where waiting may.
        """
        try:
            await self._look()
            await self._migrate()
            await self._make_indexes()
        except (PyMongoError, OSError) as error:
            raise as_store_error(error, self._where) from error

    async def close(self) -> None:
        """Finishes what is on its way to the log, ends the driver's sessions at the server, if it answers, and lets go
        of it either way.
        """
        await self.log.close()
        with pymongo.timeout(CLOSE_S):
            await self.client.close()

    async def _look(self) -> None:
        hello = await self.client.admin.command("hello")
        if hello.get("maxWireVersion", 0) < WIRE_VERSION_LEAST:
            raise StoreError(f"The store at {self._where} is older than MongoDB 6.0.")
        if "setName" not in hello and hello.get("msg") != "isdbgrid":
            raise StoreError(
                f"The store at {self._where} is a server by itself. What is acknowledged must survive its loss: make it"
                " a replica set (of one member, if need be), or name a router of a sharded cluster."
            )

    async def _migrate(self) -> None:
        found = await self.meta.find_one({"_id": "schema"})
        version = 0 if found is None else int(found["version"])
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"The store at {self._where} was written by a newer version of Hubbub (schema {version}; this one knows"
                f" {SCHEMA_VERSION})."
            )
        if version < SCHEMA_VERSION:
            # Version 1 is the indexes alone. A step has to be one that can be taken twice, and beside another node.
            await self.meta.update_one({"_id": "schema"}, {"$max": {"version": SCHEMA_VERSION}}, upsert=True)
        await self.meta.update_one({"_id": "pulse"}, {"$setOnInsert": {"at": 0}}, upsert=True)

    async def _make_indexes(self) -> None:
        for name, models in INDEXES.items():
            collection = self.database[name]
            await collection.create_indexes(list(models))
            missing = [
                model.document["name"]
                for model in models
                if not _is_there(model, (await collection.index_information()).values())
            ]
            if missing:
                raise StoreError(f"The store at {self._where} did not make the indexes {', '.join(missing)} of {name}.")


def _mistake_in(error: Exception) -> str:
    """What is wrong with an address, without repeating any of it: the driver's words quote it."""
    text = str(error)
    if "RFC 3986" in text or "percent-encod" in text or "quote_plus" in text:
        return "a user or password with : / ? # [ ] @ or % in it has to be percent-encoded"
    if text.startswith("Port"):
        return "its port is not a number from 1 to 65535"
    return "its address is not one of MongoDB"


def _option_of(warning: UserWarning) -> str:
    """What an option's warning says, without the value, which may be a secret."""
    found = re.match(r"Unknown option: (\w+)", str(warning))
    return f"its address has the unknown option {found[1]}" if found else "its address has an option that is not valid"


def _is_there(model: IndexModel, found: Any) -> bool:
    """Whether an index has the model's keys, and is unique if it has to be."""
    document = model.document
    keys = [tuple(key) for key in document["key"].items()]
    return any(
        [tuple(key) for key in index["key"]] == keys
        and bool(index.get("unique", False)) == bool(document.get("unique", False))
        for index in found
    )
