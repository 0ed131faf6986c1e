-- Returns all requests, and the suppressions in force.
SELECT address_key, scope, reason, added_at, coalesce(mailing, ''), '', '', 0, NULL::timestamptz, NULL::timestamptz
FROM opt_outs
UNION ALL
SELECT address_key, 'all', 'bounced', first_at, coalesce(mailing, ''), class, code, count, last_at, expires_at
FROM suppressions WHERE expires_at IS NULL OR expires_at > now()
ORDER BY 1, 2, 3
