-- Returns the recipients without an outcome whose latest attempt was refused for now, in order,
-- with the number of their refusals and the seconds since the first one.
SELECT d.recipient, d.attempt, coalesce(d.reply, '') AS reply, each.refusals,
	extract(epoch FROM now() - each.since)::float8 AS seconds
FROM (SELECT recipient, max(attempt) AS attempt, bool_or(final) AS done,
		count(*) FILTER (WHERE status IN ('deferred', 'refused')) AS refusals,
		min(answered_at) FILTER (WHERE status IN ('deferred', 'refused')) AS since
      FROM deliveries WHERE mailing = @mailing AND recipient OF_BATCH GROUP BY recipient) each
JOIN deliveries d ON d.mailing = @mailing AND d.recipient = each.recipient AND d.attempt = each.attempt
	AND d.recipient OF_BATCH
WHERE NOT each.done AND d.status IN ('deferred', 'refused') ORDER BY d.recipient
