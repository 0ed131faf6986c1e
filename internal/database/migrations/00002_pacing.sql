-- +goose Up

-- Rate limits, and how far their turns are given away. Times are nanoseconds since 1970 by this
-- server's clock. Turns are given a frame at a time: frame_at + n * spacing for n from 0 to turns -
-- 1, one frame after the other. Package ratelimit says how.
CREATE TABLE rate_limits (
    kind          text        NOT NULL COLLATE "C" CHECK (kind IN ('mailing', 'drop_point', 'domain')),
    name          text        NOT NULL COLLATE "C", -- a mailing's key, a drop point's name, a domain in A-labels and lower case
    messages      bigint      NOT NULL CHECK (messages > 0),
    seconds       bigint      NOT NULL CHECK (seconds > 0),  -- so many messages in so many seconds
    spacing       bigint      NOT NULL CHECK (spacing > 0),  -- from one turn to the next
    turns         bigint      NOT NULL CHECK (turns > 0),    -- in a frame
    frame_at      bigint      NOT NULL DEFAULT 0,            -- start of the newest frame
    given         bigint      NOT NULL,                      -- turns of it that are given away
    askers        int         NOT NULL DEFAULT 0,            -- workers that have asked for turns of it
    askers_before int         NOT NULL DEFAULT 0,            -- workers that asked for turns of the frame before it
    updated_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (kind, name)
) WITH (fillfactor = 20); -- written twice a second by each worker while mail goes out

-- +goose Down
DROP TABLE rate_limits;
