-- +goose Up

-- The names of the DNS records of the keys that workers have signed the mailing's messages with, and
-- 'unsigned' if a worker had none.
ALTER TABLE mailings ADD COLUMN signed_with text[] NOT NULL DEFAULT '{}';

-- +goose Down
ALTER TABLE mailings DROP COLUMN signed_with;
