-- +goose Up

-- A recipient has one outcome. A database that has two of one recipient keeps the one that says
-- most of what reached the recipient; the row of the other stays, and is not final.
WITH ranked AS (
    SELECT mailing, recipient, attempt, row_number() OVER (
        PARTITION BY mailing, recipient
        ORDER BY array_position('{sent,uncertain,bounced,failed,opted_out,unsent}'::text[], status::text), attempt DESC) AS place
    FROM deliveries WHERE final)
UPDATE deliveries d SET final = false FROM ranked r
WHERE r.place > 1 AND d.mailing = r.mailing AND d.recipient = r.recipient AND d.attempt = r.attempt;

CREATE UNIQUE INDEX deliveries_outcome ON deliveries (mailing, recipient) WHERE final;

-- What the end of the mailing has done about addresses that do not exist: {"suppressed": 3,
-- "withheld": [{"drop_point": "mx", "bad": 60, "answered": 1000}]}.
ALTER TABLE mailings ADD COLUMN suppression jsonb;

-- +goose Down
DROP INDEX deliveries_outcome;
ALTER TABLE mailings DROP COLUMN suppression;
