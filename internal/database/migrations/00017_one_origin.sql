-- +goose Up

-- Where the recipients of a mailing come from is in the column origin: a list has no colon in it.
ALTER TABLE mailings DROP COLUMN of_list;

-- +goose Down
ALTER TABLE mailings ADD COLUMN of_list text NOT NULL DEFAULT '';
UPDATE mailings SET of_list = origin WHERE position(':' IN origin) = 0;
