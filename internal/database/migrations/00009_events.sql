-- +goose Up

-- What came back about messages after the ledger had their outcome: a bounce by mail, a complaint, a
-- request. The ledger stays as it is; an event is a fact with a date beside it.
CREATE TABLE events (
    key         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    mailing     bigint      NOT NULL,
    recipient   int         NOT NULL,
    kind        text        NOT NULL,            -- bounce, complaint, unsubscribe, notice
    class       text        NOT NULL,            -- of a bounce: hard, soft; of a notice: automatic, delayed, delivered
    enhanced    text        NOT NULL DEFAULT '', -- enhanced status code (RFC 3463)
    diagnostic  text        NOT NULL DEFAULT '', -- what the report said, without addresses
    origin      text        NOT NULL,            -- the way in: inbound, mailbox, import, web
    at          timestamptz NOT NULL,
    identity    bytea       NOT NULL UNIQUE      -- hash of the report's own ID, the recipient and the kind
);
CREATE INDEX events_recipient ON events (mailing, recipient);

-- How many recipients of a mailing have an event of a class. The row of a mailing is also the lock
-- of those who write its events.
CREATE TABLE event_counts (
    mailing      bigint PRIMARY KEY,
    hard         bigint NOT NULL DEFAULT 0,
    soft         bigint NOT NULL DEFAULT 0,
    complaint    bigint NOT NULL DEFAULT 0,
    unsubscribe  bigint NOT NULL DEFAULT 0,
    automatic    bigint NOT NULL DEFAULT 0,
    delayed      bigint NOT NULL DEFAULT 0,
    delivered    bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

-- Reports about recipients of ours that nobody could read, for a person to look at.
CREATE TABLE unread_reports (
    key         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    mailing     bigint      NOT NULL,
    recipient   int         NOT NULL,
    origin      text        NOT NULL,
    size        bigint      NOT NULL,       -- of the whole message, in octets
    content     bytea       NOT NULL,       -- its beginning
    received_at timestamptz NOT NULL DEFAULT now(),
    identity    bytea       NOT NULL UNIQUE
);

-- How far a mailbox is read. name is a hash of server, user and folder.
CREATE TABLE mailbox_positions (
    name         text        PRIMARY KEY,
    uid_validity bigint      NOT NULL, -- RFC 9051, 2.3.1.1
    uid          bigint      NOT NULL, -- of the last message that was read
    read_at      timestamptz NOT NULL DEFAULT now()
);

-- +goose Down
DROP TABLE mailbox_positions, unread_reports, event_counts, events;
