-- +goose Up

-- The key with which a run of a mailing seals what it hands to its next run. One row.
CREATE TABLE seal_key (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    key bytea   NOT NULL
);

-- +goose Down
DROP TABLE seal_key;
