-- +goose Up

-- The texts of queries that mailings were started with. Temporal has the digest instead.
CREATE TABLE queries (
    digest   bytea       PRIMARY KEY,          -- SHA-256 of the text
    sql      text        NOT NULL,
    added_at timestamptz NOT NULL DEFAULT now()
);

-- +goose Down
DROP TABLE queries;
