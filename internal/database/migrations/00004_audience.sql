-- +goose Up

-- Nothing reads it, and keeping it was half of the work of freezing a list: that an address is there once is ensured by the statements that
-- freeze it.
ALTER TABLE recipients DROP CONSTRAINT recipients_mailing_address_key_key;

-- +goose Down
ALTER TABLE recipients ADD CONSTRAINT recipients_mailing_address_key_key UNIQUE (mailing, address_key);
