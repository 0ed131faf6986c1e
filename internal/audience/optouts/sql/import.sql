-- Adds suppressions that were exported. One that is there already stays as it is.
INSERT INTO suppressions (address_key, class, code, origin, mailing, count, first_at, last_at, expires_at)
SELECT DISTINCT ON (address COLLATE "C") address, class, coalesce(code, ''), 'report', nullif(mailing, ''),
	coalesce(count, 1), added_at, coalesce(last_at, added_at), expires_at
FROM jsonb_to_recordset(@rows::jsonb) AS x(address text, class text, code text, mailing text, count int,
	added_at timestamptz, last_at timestamptz, expires_at timestamptz)
ORDER BY address COLLATE "C"
ON CONFLICT DO NOTHING
