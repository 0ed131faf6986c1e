-- Removes what leaves the addresses out, with a scope and a reason; an empty text stands for any.
-- Returns how many of the addresses had anything, and how many of these people had asked.
WITH requests AS (
	DELETE FROM opt_outs WHERE address_key = ANY(@keys::text[]) AND @scope::text IN ('', scope)
		AND @reason::text IN ('', reason)
	RETURNING address_key, reason IN ('asked', 'complaint') AS asked),
findings AS (
	DELETE FROM bounce_findings WHERE address_key = ANY(@keys::text[]) AND @scope::text IN ('', 'all')
		AND @reason::text IN ('', 'bounced')),
suppressed AS (
	DELETE FROM suppressions WHERE address_key = ANY(@keys::text[]) AND @scope::text IN ('', 'all')
		AND @reason::text IN ('', 'bounced')
	RETURNING address_key)
SELECT count(DISTINCT address_key), count(DISTINCT address_key) FILTER (WHERE asked)
FROM (SELECT * FROM requests UNION ALL SELECT address_key, false FROM suppressed) x
