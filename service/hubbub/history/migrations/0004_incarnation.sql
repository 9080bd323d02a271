-- One row. The incarnation is in the epoch of every room, and the file is the one that a service opened last, so that a
-- copy in its place is found out (`sqlite_incarnation`).
CREATE TABLE incarnation (one INTEGER PRIMARY KEY CHECK (one = 1), name TEXT NOT NULL, file TEXT);
INSERT INTO incarnation VALUES (1, '', NULL);
