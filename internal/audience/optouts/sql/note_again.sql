-- Counts a finding about an address that is suppressed for a hard bounce already.
UPDATE suppressions s SET count = s.count + 1, last_at = greatest(s.last_at, x.at)
FROM (
	SELECT DISTINCT ON (key) key, coalesce(at, now()) AS at
	FROM jsonb_to_recordset(@rows::jsonb) AS x(key text, at timestamptz) ORDER BY key, at DESC) x
WHERE s.address_key = x.key AND s.class = 'hard' AND s.expires_at IS NULL
