-- +goose Up

-- Nothing reads it, and keeping it is work for each recipient: that an address is there once is
-- ensured by the statements that freeze a list.
ALTER TABLE recipients DROP CONSTRAINT recipients_mailing_address_key_key;

-- Rows of a query that could not be used, and the first of them: [{"line": 17, "reason": "the
-- address has no @"}], without the address.
ALTER TABLE mailings ADD COLUMN rejected bigint NOT NULL DEFAULT 0, ADD COLUMN rejects jsonb;

-- +goose Down
ALTER TABLE mailings DROP COLUMN rejected, DROP COLUMN rejects;
ALTER TABLE recipients ADD CONSTRAINT recipients_mailing_address_key_key UNIQUE (mailing, address_key);
