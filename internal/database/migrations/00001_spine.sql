-- +goose Up

-- A named set of members. A new import replaces the members of a list in one transaction.
CREATE TABLE lists (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name       text        NOT NULL UNIQUE,
    source     text        NOT NULL,           -- the file's base name
    members    bigint      NOT NULL DEFAULT 0, -- rows kept, repeated addresses among them
    duplicates bigint      NOT NULL DEFAULT 0, -- rows whose address an earlier row has
    rejected   bigint      NOT NULL DEFAULT 0, -- rows of the source that were not usable
    columns    text[]      NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE list_members (
    list_id     bigint NOT NULL,
    position    bigint NOT NULL,               -- line in the source
    address     text   NOT NULL,               -- as it goes on the wire
    address_key text   NOT NULL COLLATE "C",   -- what addresses are compared by
    attributes  jsonb  NOT NULL,
    PRIMARY KEY (list_id, position)
);

-- Addresses that must not be mailed.
CREATE TABLE opt_outs (
    address_key text        PRIMARY KEY COLLATE "C",
    reason      text        NOT NULL,          -- 'asked', or the enhanced status code of a bounce
    mailing     text,                          -- the mailing that it came from, if any
    added_at    timestamptz NOT NULL DEFAULT now()
);

-- key is short and internal: it stands in millions of rows. id is the mailing's ID and the
-- workflow's.
CREATE TABLE mailings (
    key          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id           text        NOT NULL UNIQUE,
    first_run_id text        NOT NULL,         -- of the workflow chain that owns the ID, for ever
    input        jsonb       NOT NULL,
    list         text        NOT NULL,
    state        text        NOT NULL,
    reason       text        NOT NULL DEFAULT '',
    members      bigint      NOT NULL DEFAULT 0,
    duplicates   bigint      NOT NULL DEFAULT 0,
    recipients   bigint      NOT NULL DEFAULT 0,
    mailable     bigint      NOT NULL DEFAULT 0, -- recipients that are in batches: not opted out when the list was frozen
    batches      int         NOT NULL DEFAULT 0,
    counts       jsonb,                          -- outcomes, when the ledger is closed
    created_at   timestamptz NOT NULL DEFAULT now(),
    prepared_at  timestamptz,
    closed_at    timestamptz
);

-- The frozen list, one row an address. Numbers run from 1; those opted out come after all others
-- and are in no batch.
CREATE TABLE recipients (
    mailing     bigint NOT NULL,
    number      int    NOT NULL,
    address     text   NOT NULL,
    address_key text   NOT NULL COLLATE "C",
    attributes  jsonb  NOT NULL,
    PRIMARY KEY (mailing, number),
    UNIQUE (mailing, address_key)
);

-- A run of recipients, first to last. Whoever holds the highest fence owns the batch.
CREATE TABLE batches (
    mailing     bigint NOT NULL,
    number      int    NOT NULL,
    first       int    NOT NULL,
    last        int    NOT NULL,
    fence       bigint NOT NULL DEFAULT 0,
    sent           int NOT NULL DEFAULT 0,
    bounced        int NOT NULL DEFAULT 0,
    failed         int NOT NULL DEFAULT 0,
    opted_out      int NOT NULL DEFAULT 0,
    uncertain      int NOT NULL DEFAULT 0,
    unsent         int NOT NULL DEFAULT 0,
    possibly_twice int NOT NULL DEFAULT 0,
    rendered_at timestamptz,
    closed_at   timestamptz,
    PRIMARY KEY (mailing, number)
) WITH (fillfactor = 50);

-- Rendered batches that wait to be sent; the row goes when its batch is closed.
CREATE TABLE spool (
    mailing  bigint NOT NULL,
    batch    int    NOT NULL,
    messages bytea  NOT NULL,
    PRIMARY KEY (mailing, batch)
);
ALTER TABLE spool ALTER COLUMN messages SET STORAGE EXTERNAL; -- compressed already

CREATE TYPE delivery_status AS ENUM (
    'intent',    -- committed before the final dot; still so after a crash: uncertain
    'sent',      -- accepted
    'bounced',   -- refused for good, the recipient's address or mailbox
    'failed',    -- given up: template, page or repeated deferral
    'deferred',  -- refused for now
    'refused',   -- the server refuses us; the recipient is not blamed
    'not_sent',  -- certainly not handed over
    'uncertain', -- handed over, the answer was never seen
    'opted_out',
    'unsent'     -- the mailing ended first
);

-- The ledger: one row an attempt. A recipient's outcome is its one final row.
CREATE TABLE deliveries (
    mailing        bigint          NOT NULL,
    recipient      int             NOT NULL,
    attempt        int             NOT NULL, -- 1, 2, … ; 0 for outcomes without an attempt
    status         delivery_status NOT NULL,
    final          boolean         NOT NULL,
    possibly_twice boolean         NOT NULL DEFAULT false, -- sent again after an uncertain attempt
    drop_point     text,
    code           smallint,       -- SMTP reply code
    enhanced       text,           -- enhanced status code (RFC 3463)
    reply          text,           -- the server's text, or the reason
    at             timestamptz     NOT NULL DEFAULT clock_timestamp(), -- of the intent
    answered_at    timestamptz,
    PRIMARY KEY (mailing, recipient, attempt)
) WITH (fillfactor = 70);

-- +goose Down
DROP TABLE deliveries, spool, batches, recipients, mailings, opt_outs, list_members, lists;
DROP TYPE delivery_status;
