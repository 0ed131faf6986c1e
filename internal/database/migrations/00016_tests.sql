-- +goose Up

-- A mailing of `starter test`: it goes to the addresses of test_recipients, and counts nowhere.
ALTER TABLE mailings ADD COLUMN test boolean NOT NULL
    GENERATED ALWAYS AS (coalesce((input->>'test')::boolean, false)) STORED;

-- The recipients of a test from its start until they are frozen. They must not be in Temporal.
CREATE TABLE test_recipients (
    test        text        NOT NULL,          -- the mailing's ID
    number      int         NOT NULL,
    address     text        NOT NULL,
    address_key text        NOT NULL COLLATE "C",
    attributes  jsonb       NOT NULL,          -- "email" is the address of the member whose fields they are
    added_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (test, number)
);

-- +goose Down
DROP TABLE test_recipients;
ALTER TABLE mailings DROP COLUMN test;
