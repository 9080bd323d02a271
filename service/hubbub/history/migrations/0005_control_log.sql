-- What every node has to take note of, in numbered records, and what is kept beside rooms and messages.

CREATE TABLE control_log (
    n INTEGER PRIMARY KEY, -- SQLite gives one more than the highest; the newest record is never removed, so none twice.
    key TEXT, -- NULL for a record that the store wrote itself: it is written in one step with the change, and never again.
    kind TEXT NOT NULL,
    at INTEGER NOT NULL,
    origin TEXT NOT NULL,
    data TEXT NOT NULL
);

CREATE UNIQUE INDEX control_log_by_key ON control_log (key) WHERE key IS NOT NULL;

-- A row stays when the ban is over: its number says which records are older.
CREATE TABLE bans (
    user TEXT PRIMARY KEY,
    until INTEGER NOT NULL,
    reason TEXT NOT NULL,
    by TEXT NOT NULL,
    at INTEGER NOT NULL,
    n INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE revocations (
    user TEXT UNIQUE,
    jti TEXT UNIQUE,
    before INTEGER NOT NULL,
    reason TEXT NOT NULL,
    by TEXT NOT NULL,
    at INTEGER NOT NULL,
    n INTEGER NOT NULL,
    CHECK ((user IS NULL) <> (jti IS NULL))
);

CREATE TABLE audit (
    no INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    reason TEXT NOT NULL,
    outcome TEXT NOT NULL DEFAULT 'unknown'
);

CREATE INDEX audit_by_time ON audit (at, no);

CREATE TABLE beats (
    name TEXT NOT NULL,
    origin TEXT NOT NULL,
    at INTEGER NOT NULL,
    about TEXT NOT NULL,
    PRIMARY KEY (name, origin)
) WITHOUT ROWID;
