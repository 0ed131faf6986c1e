-- Suppresses addresses for hard bounces, for good. A hard bounce replaces a soft one.
INSERT INTO suppressions AS s (address_key, class, code, origin, mailing, first_at, last_at)
SELECT DISTINCT ON (key COLLATE "C")
	key, 'hard', code, origin, nullif(mailing, ''), coalesce(at, now()), coalesce(at, now())
FROM jsonb_to_recordset(@rows::jsonb) AS x(key text, code text, mailing text, at timestamptz, origin text)
ORDER BY key COLLATE "C", at
ON CONFLICT (address_key) DO UPDATE SET class = 'hard', code = excluded.code, origin = excluded.origin,
	mailing = excluded.mailing, count = s.count + 1, last_at = greatest(s.last_at, excluded.last_at), expires_at = NULL
WHERE s.class = 'soft' OR s.expires_at IS NOT NULL
