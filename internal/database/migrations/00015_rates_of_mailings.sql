-- +goose Up

-- A mailing's limits of drop points and domains hold for that mailing only. mailing is its key; 0 for
-- a limit that holds for all mailings together.
ALTER TABLE rate_limits ADD COLUMN mailing bigint NOT NULL DEFAULT 0 CHECK (mailing >= 0);
UPDATE rate_limits SET mailing = name::bigint, name = '' WHERE kind = 'mailing';
ALTER TABLE rate_limits
    DROP CONSTRAINT rate_limits_pkey,
    ADD PRIMARY KEY (mailing, kind, name);

-- +goose Down
DELETE FROM rate_limits WHERE mailing <> 0 AND kind <> 'mailing';
UPDATE rate_limits SET name = mailing WHERE kind = 'mailing';
ALTER TABLE rate_limits
    DROP CONSTRAINT rate_limits_pkey,
    ADD PRIMARY KEY (kind, name),
    DROP COLUMN mailing;
