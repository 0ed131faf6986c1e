-- Notes what bounce messages said. Another one about the same address, mailing and class changes
-- nothing: soft bounces are counted over mailings.
INSERT INTO bounce_findings (address_key, mailing, class, code, at)
SELECT DISTINCT ON (key COLLATE "C", mailing COLLATE "C", class) key, mailing, class, code, coalesce(at, now())
FROM jsonb_to_recordset(@rows::jsonb) AS x(key text, mailing text, class text, code text, at timestamptz)
ORDER BY key COLLATE "C", mailing COLLATE "C", class, at
ON CONFLICT DO NOTHING
