-- +goose Up

-- A function, because several statements look for a domain, and each has to look for the same.
-- '@example.com' for 'somebody@example.com': no key of an address begins with @.
CREATE FUNCTION domain_key(address_key text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN '@' || split_part(address_key, '@', -1);

-- What a mail server or a bounce message said of an address. No mailing goes to an address that has
-- a row here, until the row expires or is removed.
CREATE TABLE suppressions (
    address_key text        PRIMARY KEY COLLATE "C",
    class       text        NOT NULL CHECK (class IN ('hard', 'soft')),
    code        text        NOT NULL,           -- enhanced status code (RFC 3463), or ''
    origin      text        NOT NULL CHECK (origin IN ('answer', 'report')), -- of a drop point; a bounce message
    mailing     text,                           -- whose mail bounced, if known
    count       int         NOT NULL DEFAULT 1, -- findings
    first_at    timestamptz NOT NULL DEFAULT now(),
    last_at     timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz                     -- NULL: never
);
CREATE INDEX suppressions_mailing ON suppressions (mailing);

-- What bounce messages said, one row for each address, mailing and class: soft bounces are counted
-- over mailings, and the share of a mailing's bounces shows whether they can be trusted.
CREATE TABLE bounce_findings (
    address_key text        NOT NULL COLLATE "C",
    mailing     text        NOT NULL,           -- '': not known
    class       text        NOT NULL CHECK (class IN ('hard', 'soft')),
    code        text        NOT NULL,
    at          timestamptz NOT NULL,
    PRIMARY KEY (address_key, mailing, class)
);
CREATE INDEX bounce_findings_mailing ON bounce_findings (mailing, class);

-- Any reason but 'asked' was the enhanced status code of a bounce.
INSERT INTO suppressions (address_key, class, code, origin, mailing, first_at, last_at)
SELECT address_key, 'hard', reason, 'answer', mailing, added_at, added_at FROM opt_outs WHERE reason <> 'asked';
DELETE FROM opt_outs WHERE reason <> 'asked';

-- Requests of people. address_key is that of an address, or a whole domain ('@example.com'). A
-- person may have several: one row for each scope and reason. written_by is the transaction that
-- wrote the row: a worker that knows a snapshot finds what was committed since.
ALTER TABLE opt_outs
    DROP CONSTRAINT opt_outs_pkey,
    ALTER COLUMN reason TYPE text COLLATE "C",
    ADD COLUMN scope text NOT NULL DEFAULT 'all' COLLATE "C" CHECK (scope = 'all' OR scope ~ '^(list|topic):.'),
    ADD COLUMN written_by xid8 NOT NULL DEFAULT pg_current_xact_id(),
    ADD PRIMARY KEY (address_key, scope, reason),
    ADD CHECK (reason IN ('asked', 'complaint', 'operator', 'imported'));
CREATE INDEX opt_outs_written_by ON opt_outs (written_by);

-- Who must not be mailed, and why. scope is NULL for a suppression, which every mailing respects.
-- Where several rows leave a recipient out, the one of the lowest rank is the reason.
CREATE VIEW exclusions AS
SELECT address_key, scope,
    'opted out of ' || CASE scope WHEN 'all' THEN 'all mail' ELSE replace(scope, ':', ' ') END || ' (' || reason
        || CASE WHEN starts_with(address_key, '@') THEN ', whole domain)' ELSE ')' END AS why,
    CASE scope WHEN 'all' THEN 0 ELSE 10 END
        + CASE reason WHEN 'asked' THEN 0 WHEN 'complaint' THEN 1 WHEN 'operator' THEN 2 ELSE 3 END
        + CASE WHEN starts_with(address_key, '@') THEN 100 ELSE 0 END AS rank
FROM opt_outs
UNION ALL
SELECT address_key, NULL, 'suppressed (' || class || ' bounce' || CASE code WHEN '' THEN ')' ELSE ' ' || code || ')' END,
    1000
FROM suppressions WHERE expires_at IS NULL OR expires_at > now();

-- Which requests hold for a mailing. of_list is the list that its recipients come from, also over
-- continuations; '' for a query. opt_out_scopes are the scopes of the requests that it respects.
ALTER TABLE mailings
    ADD COLUMN topic text NOT NULL DEFAULT '',
    ADD COLUMN of_list text NOT NULL DEFAULT '',
    ADD COLUMN ignore_opt_outs text[] NOT NULL DEFAULT '{}',
    ADD COLUMN opt_out_scopes text[] NOT NULL DEFAULT '{all}';
WITH RECURSIVE origin AS (
    SELECT id, list FROM mailings WHERE position(':' IN list) = 0
    UNION
    SELECT m.id, o.list FROM origin o JOIN mailings m ON m.list = 'continue:' || o.id)
UPDATE mailings m SET of_list = o.list, opt_out_scopes = ARRAY['all', 'list:' || o.list]
FROM origin o WHERE o.id = m.id;

-- +goose Down
ALTER TABLE mailings
    DROP COLUMN topic, DROP COLUMN of_list, DROP COLUMN ignore_opt_outs, DROP COLUMN opt_out_scopes;
DROP VIEW exclusions;
-- The older table knows requests about all mail only. No request is lost: each becomes one of them.
DELETE FROM opt_outs o WHERE EXISTS (
    SELECT FROM opt_outs p WHERE p.address_key = o.address_key AND (p.scope, p.reason) < (o.scope, o.reason));
UPDATE opt_outs SET reason = 'asked' WHERE reason <> 'asked';
ALTER TABLE opt_outs
    DROP CONSTRAINT opt_outs_pkey,
    DROP CONSTRAINT opt_outs_reason_check,
    DROP COLUMN scope,
    DROP COLUMN written_by,
    ADD PRIMARY KEY (address_key);
INSERT INTO opt_outs (address_key, reason, mailing, added_at)
SELECT address_key, code, mailing, first_at FROM suppressions
WHERE class = 'hard' AND code <> '' AND (expires_at IS NULL OR expires_at > now())
ON CONFLICT DO NOTHING;
DROP TABLE bounce_findings, suppressions;
DROP FUNCTION domain_key;
