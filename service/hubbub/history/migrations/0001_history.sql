-- Rooms, what was said in them, and how users stand to them.
--
-- A message's place is one 64-bit key: the room's number in the upper bits, its seq in the lower 36. So the rows of a
-- room lie beside each other in the order in which they are read, the newest page costs what the oldest does, and no
-- second index is needed for it. 2^36 messages in a room and 2^27 rooms are more than one file can hold.

CREATE TABLE rooms (
    no INTEGER PRIMARY KEY AUTOINCREMENT, -- Never used twice: what a deleted room left behind belongs to nobody.
    uid TEXT NOT NULL UNIQUE,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL CHECK (kind IN ('public', 'private', 'direct')),
    title TEXT NOT NULL,
    topic TEXT NOT NULL,
    capacity INTEGER NOT NULL,
    slow_mode_s INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    members INTEGER NOT NULL, -- How many, so that joining a full room is refused without counting.
    folded TEXT NOT NULL -- Id and title without regard to case; SQLite folds ASCII only.
);

CREATE INDEX rooms_public ON rooms (id) WHERE kind = 'public';

CREATE TABLE messages (
    place INTEGER PRIMARY KEY, -- room << 36 | seq
    rev INTEGER NOT NULL,
    room INTEGER NOT NULL,
    sender TEXT NOT NULL,
    key TEXT NOT NULL,
    deleted INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    bytes INTEGER NOT NULL, -- Of its document as JSON, about, so that a page is measured without reading it.
    doc TEXT NOT NULL -- JSON of what no query asks for; last, so that the rest is read without it.
);

-- Exactly once in effect: a sender's key is taken for ever.
CREATE UNIQUE INDEX messages_by_key ON messages (room, sender, key);

-- What changed after a revision, without walking over the revisions that later ones have overtaken.
CREATE UNIQUE INDEX messages_by_rev ON messages (room, rev);

-- One row per revision that was claimed. The head of a room is its last one.
CREATE TABLE changes (
    place INTEGER PRIMARY KEY, -- room << 36 | rev
    seq INTEGER NOT NULL
);

CREATE TABLE standings (
    room INTEGER NOT NULL,
    user TEXT NOT NULL,
    role TEXT CHECK (role IN ('owner', 'moderator', 'member', 'invited')),
    joined_at INTEGER NOT NULL DEFAULT 0,
    muted_until INTEGER NOT NULL DEFAULT 0,
    banned_until INTEGER NOT NULL DEFAULT 0,
    knew INTEGER NOT NULL DEFAULT 0,
    read_seq INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (room, user)
) WITHOUT ROWID;

CREATE INDEX standings_of_user ON standings (user, room);

CREATE INDEX standings_members ON standings (room, joined_at, user) WHERE role IN ('owner', 'moderator', 'member');

-- Who is next in line when an owner goes.
CREATE INDEX standings_staff ON standings (room, role, joined_at, user) WHERE role IN ('owner', 'moderator');

CREATE TABLE people (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    guest INTEGER NOT NULL,
    seen_at INTEGER NOT NULL
) WITHOUT ROWID;

-- Deleted rooms whose messages still take up space.
CREATE TABLE graveyard (no INTEGER PRIMARY KEY);

-- One row that `check` writes, so that a store which can only be read is found out.
CREATE TABLE pulse (one INTEGER PRIMARY KEY CHECK (one = 1), at INTEGER NOT NULL);
INSERT INTO pulse VALUES (1, 0);
