-- Up to which seq retention has emptied the room's messages. What is left of those keeps its place, its key and its
-- revisions, and is shown to nobody who does not have it already.
ALTER TABLE rooms ADD COLUMN floor INTEGER NOT NULL DEFAULT 0;
