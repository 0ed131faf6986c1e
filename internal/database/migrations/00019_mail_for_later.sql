-- +goose Up

-- The lowest UID of the messages that hold a token of a missing key: a worker with all keys reads
-- from there again.
ALTER TABLE mailbox_positions ADD COLUMN later_uid bigint;

-- +goose Down
ALTER TABLE mailbox_positions DROP COLUMN later_uid;
