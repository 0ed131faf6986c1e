-- +goose Up

-- revision is raised by whoever changes outcomes that may have been counted already: who counts row
-- by row sees whether his count still holds. ending: the mailing is being ended before it is
-- complete; its batches are closed, and nobody is added or sent to any more.
ALTER TABLE mailings ADD COLUMN revision bigint NOT NULL DEFAULT 0, ADD COLUMN ending boolean NOT NULL DEFAULT false;

-- +goose Down
ALTER TABLE mailings DROP COLUMN revision, DROP COLUMN ending;
