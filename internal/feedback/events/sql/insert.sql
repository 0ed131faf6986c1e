-- Writes an event. Returns whether the recipient had no event of its class before, and no row if
-- the event is there already.
INSERT INTO events (mailing, recipient, kind, class, enhanced, diagnostic, origin, at, identity)
VALUES (@mailing, @recipient, @kind, @class, @enhanced, @diagnostic, @origin,
	least(coalesce(@at::timestamptz, now()), now()), @identity)
ON CONFLICT (identity) DO NOTHING
RETURNING NOT EXISTS (
	SELECT FROM events e WHERE e.mailing = @mailing AND e.recipient = @recipient AND e.class = @class), at
