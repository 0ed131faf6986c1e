-- Removes everything that leaves the addresses out, and returns how many of them had anything.
WITH requests AS (DELETE FROM opt_outs WHERE address_key = ANY(@keys) RETURNING address_key),
	findings AS (DELETE FROM bounce_findings WHERE address_key = ANY(@keys)),
	suppressed AS (DELETE FROM suppressions WHERE address_key = ANY(@keys) RETURNING address_key)
SELECT count(*) FROM (SELECT address_key FROM requests UNION SELECT address_key FROM suppressed) x
