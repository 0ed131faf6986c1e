-- +goose Up

-- What the messages of a mailing name of the settings with which it was opened: the token key that
-- signs (its name), the public URL, the bounce domain. A message that is rendered again has the
-- same bytes, whatever the settings are by then.
ALTER TABLE mailings ADD COLUMN marks jsonb NOT NULL DEFAULT '{}';

-- +goose Down
ALTER TABLE mailings DROP COLUMN marks;
