-- Returns what the ledger knows of each recipient of a batch that has deliveries. A recipient is
-- deferred if the latest attempt was refused, and that since the batch was opened (@opened, NULL in
-- the first round): it is not sent to again in this round. What was refused for good (5xx) and what
-- was cut off is counted apart. Where the drop point asked for less or cannot take the message, or
-- where we ended the attempt, it is neither. A sending counts its attempts in the same way (package
-- sender, item).
SELECT recipient, max(attempt) AS attempts, bool_or(final) AS final,
	count(*) FILTER (WHERE status = 'uncertain') AS uncertain,
	coalesce((array_agg(status IN ('deferred', 'refused') AND (@opened::timestamptz IS NULL OR answered_at >= @opened)
		ORDER BY attempt DESC))[1], false) AS deferred,
	count(*) FILTER (WHERE status IN ('not_sent', 'refused') AND (code >= 500 OR enhanced LIKE '5.%')
		AND NOT starts_with(coalesce(reply, ''), @less_asked)
		AND NOT starts_with(coalesce(reply, ''), @cannot_take)
		AND NOT starts_with(coalesce(reply, ''), @broke)) AS refusals,
	count(*) FILTER (WHERE status = 'not_sent'
		AND (coalesce(code, 0) < 500 AND coalesce(enhanced, '') NOT LIKE '5.%' OR starts_with(reply, @broke))
		AND NOT starts_with(coalesce(reply, ''), @not_handed_over)
		AND NOT starts_with(coalesce(reply, ''), @less_asked)) AS breaks
FROM deliveries WHERE mailing = @mailing AND recipient OF_BATCH GROUP BY recipient
