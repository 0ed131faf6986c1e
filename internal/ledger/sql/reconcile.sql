-- Looks at every recipient of a batch, and trusts no counter: counts the outcomes, and the
-- recipients that have not exactly one final delivery, with the first of them.
SELECT count(*) FILTER (WHERE finals <> 1) AS unaccounted,
	coalesce(min(number) FILTER (WHERE finals <> 1), 0) AS first_unaccounted,
	count(*) FILTER (WHERE outcome = 'sent') AS sent, count(*) FILTER (WHERE outcome = 'bounced') AS bounced,
	count(*) FILTER (WHERE outcome = 'failed') AS failed, count(*) FILTER (WHERE outcome = 'opted_out') AS opted_out,
	count(*) FILTER (WHERE outcome = 'uncertain') AS uncertain, count(*) FILTER (WHERE outcome = 'unsent') AS unsent,
	count(*) FILTER (WHERE twice AND finals > 0) AS possibly_twice
FROM (
	SELECT r.number, count(d.recipient) FILTER (WHERE d.final) AS finals,
		max(d.status) FILTER (WHERE d.final) AS outcome,
		bool_or(d.possibly_twice AND d.status NOT IN ('intent', 'not_sent', 'deferred', 'refused')) AS twice
	FROM recipients r LEFT JOIN deliveries d ON d.mailing = r.mailing AND d.recipient = r.number
		AND d.mailing = @mailing AND d.recipient OF_BATCH
	WHERE r.mailing = @mailing AND r.number OF_BATCH
	GROUP BY r.number) each
