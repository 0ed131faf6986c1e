-- Returns the soft bounces of an address since a time, the oldest first.
SELECT mailing, at FROM bounce_findings WHERE address_key = @key AND class = 'soft' AND at > @since ORDER BY at, mailing
