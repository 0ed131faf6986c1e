-- Returns the recipients of a batch who must not be mailed, with the reasons.
--
-- The reason is a scalar subquery, so that it is a look-up for each recipient. For a join the
-- planner may read all opt-outs for each batch.
SELECT number, why FROM (
	SELECT number, (
		SELECT x.why FROM exclusions x
		WHERE x.address_key IN (r.address_key, domain_key(r.address_key)) AND (x.scope IS NULL OR x.scope = ANY(m.scopes))
		ORDER BY x.rank LIMIT 1) AS why
	FROM recipients r, (SELECT opt_out_scopes AS scopes FROM mailings WHERE key = @mailing) m
	WHERE mailing = @mailing AND number OF_BATCH) r
WHERE why IS NOT NULL
