-- +goose Up

-- A batch of a later round gathers recipients from anywhere: members lists them, in order, and
-- first and last are its ends. NULL: all from first to last. opened_at tells the refusals of this
-- round from those of the rounds before.
ALTER TABLE batches ADD COLUMN members int[], ADD COLUMN opened_at timestamptz;

-- Recipients who were refused for now and wait for a later round; they are in no open batch
-- meanwhile.
CREATE TABLE deferrals (
    mailing   bigint      NOT NULL,
    recipient int         NOT NULL,
    batch     int         NOT NULL, -- whose spool has the message; 0: it has to be rendered again
    due       timestamptz NOT NULL,
    PRIMARY KEY (mailing, recipient)
);
CREATE INDEX deferrals_due ON deferrals (mailing, due);
CREATE INDEX deferrals_batch ON deferrals (mailing, batch);

-- +goose Down
DROP TABLE deferrals;
DELETE FROM batches WHERE members IS NOT NULL;
ALTER TABLE batches DROP COLUMN members, DROP COLUMN opened_at;
