-- +goose Up

-- Where the recipients of a mailing come from, in the words of the column list, but through the
-- mailings that it continues: the list or the query of the first of them.
ALTER TABLE mailings ADD COLUMN origin text NOT NULL DEFAULT '';
WITH RECURSIVE found AS (
    SELECT id, list AS origin FROM mailings WHERE list NOT LIKE 'continue:%'
    UNION ALL
    SELECT m.id, f.origin FROM found f JOIN mailings m ON m.list = 'continue:' || f.id)
UPDATE mailings m SET origin = f.origin FROM found f WHERE f.id = m.id;
UPDATE mailings SET origin = list WHERE origin = '';

-- +goose Down
ALTER TABLE mailings DROP COLUMN origin;
