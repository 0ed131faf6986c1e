-- Counts the outcomes of a batch. Whether a recipient without an outcome has got two messages is
-- known only when the batch is closed.
SELECT count(*) FILTER (WHERE status = 'sent') AS sent, count(*) FILTER (WHERE status = 'bounced') AS bounced,
	count(*) FILTER (WHERE status = 'failed') AS failed, count(*) FILTER (WHERE status = 'opted_out') AS opted_out,
	count(*) FILTER (WHERE status = 'uncertain') AS uncertain, count(*) FILTER (WHERE status = 'unsent') AS unsent,
	count(*) FILTER (WHERE possibly_twice) AS possibly_twice
FROM deliveries WHERE mailing = @mailing AND recipient OF_BATCH AND final
