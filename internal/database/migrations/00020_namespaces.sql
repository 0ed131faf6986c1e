-- +goose Up

-- The Temporal namespace of the mailing's workflow; empty for a mailing that an earlier version has
-- opened.
ALTER TABLE mailings ADD COLUMN namespace text NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE mailings DROP COLUMN namespace;
