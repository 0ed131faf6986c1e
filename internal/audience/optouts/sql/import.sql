-- Adds suppressions that were exported. One that is there already, and has not expired, stays as it
-- is.
INSERT INTO suppressions AS s (address_key, class, code, origin, mailing, count, first_at, last_at, expires_at)
SELECT DISTINCT ON (address COLLATE "C") address, class, coalesce(code, ''), 'report', nullif(mailing, ''),
	coalesce(count, 1), added_at, coalesce(last_at, added_at), expires_at
FROM jsonb_to_recordset(@rows::jsonb) AS x(address text, class text, code text, mailing text, count int,
	added_at timestamptz, last_at timestamptz, expires_at timestamptz)
ORDER BY address COLLATE "C"
ON CONFLICT (address_key) DO UPDATE SET class = excluded.class, code = excluded.code, origin = excluded.origin,
	mailing = excluded.mailing, count = excluded.count, first_at = excluded.first_at, last_at = excluded.last_at,
	expires_at = excluded.expires_at
WHERE s.expires_at <= now()
