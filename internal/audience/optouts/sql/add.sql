-- Adds requests. One that is there already stays as it is. The order keeps two transactions that
-- add the same requests from waiting for each other.
INSERT INTO opt_outs (address_key, scope, reason, mailing, added_at)
SELECT DISTINCT ON (key COLLATE "C", scope COLLATE "C", reason COLLATE "C")
	key, scope, reason, nullif(mailing, ''), coalesce(at, now())
FROM jsonb_to_recordset(@rows::jsonb) AS x(key text, scope text, reason text, mailing text, at timestamptz)
ORDER BY key COLLATE "C", scope COLLATE "C", reason COLLATE "C", at
ON CONFLICT DO NOTHING
