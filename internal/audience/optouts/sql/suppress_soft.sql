-- Suppresses an address for soft bounces, for a time, and returns whether it was not suppressed
-- before. A suppression for a hard bounce stays as it is.
WITH before AS (
	SELECT FROM suppressions WHERE address_key = @key AND (expires_at IS NULL OR expires_at > now())),
changed AS (
	INSERT INTO suppressions AS s (address_key, class, code, origin, mailing, count, first_at, last_at, expires_at)
	VALUES (@key, 'soft', @code, 'report', nullif(@mailing, ''), @count, @first, @last, @expires)
	ON CONFLICT (address_key) DO UPDATE SET code = excluded.code, mailing = excluded.mailing, count = excluded.count,
		last_at = excluded.last_at, expires_at = excluded.expires_at
	WHERE s.class = 'soft'
	RETURNING s.address_key)
SELECT count(*) FROM changed WHERE NOT EXISTS (SELECT FROM before)
