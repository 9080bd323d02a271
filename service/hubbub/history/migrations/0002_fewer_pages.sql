-- A new message claims the revision that is its seq, so its row says so already: only later changes need rows of their
-- own. A send then touches two trees (the messages and their keys) where it touched four.

DELETE FROM changes WHERE place & 68719476735 = seq;

DROP INDEX messages_by_rev;

-- What changed after a revision: messages as they were sent are found by their place, the others here.
CREATE UNIQUE INDEX messages_by_rev ON messages (room, rev) WHERE rev <> place & 68719476735;
