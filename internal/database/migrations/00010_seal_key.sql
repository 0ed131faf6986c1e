-- +goose Up

-- The key with which a run of a mailing seals what it hands to its next run. One row. A strong
-- random UUID has 122 bits.
CREATE TABLE seal_key (
    key bytea NOT NULL
);
INSERT INTO seal_key
SELECT sha256(convert_to(concat(gen_random_uuid(), gen_random_uuid(), gen_random_uuid()), 'UTF8'));

-- +goose Down
DROP TABLE seal_key;
