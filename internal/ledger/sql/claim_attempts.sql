-- Returns what the ledger knows of each recipient of a batch that has deliveries. A recipient is
-- deferred if the latest attempt was refused, and that since the batch was opened (@opened, NULL in
-- the first round): it is not sent to again in this round.
SELECT recipient, max(attempt) AS attempts, bool_or(final) AS final,
	count(*) FILTER (WHERE status = 'uncertain') AS uncertain,
	coalesce((array_agg(status IN ('deferred', 'refused') AND (@opened::timestamptz IS NULL OR answered_at >= @opened)
		ORDER BY attempt DESC))[1], false) AS deferred
FROM deliveries WHERE mailing = @mailing AND recipient OF_BATCH GROUP BY recipient
