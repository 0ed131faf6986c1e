-- Returns the requests and the suppressions in force with a scope and a reason; an empty text stands
-- for any.
SELECT address_key, scope, reason, added_at, coalesce(mailing, ''), '', '', 0, NULL::timestamptz, NULL::timestamptz
FROM opt_outs WHERE @scope::text IN ('', scope) AND @reason::text IN ('', reason)
UNION ALL
SELECT address_key, 'all', 'bounced', first_at, coalesce(mailing, ''), class, code, count, last_at, expires_at
FROM suppressions
WHERE (expires_at IS NULL OR expires_at > now()) AND @scope::text IN ('', 'all') AND @reason::text IN ('', 'bounced')
ORDER BY 1, 2, 3
