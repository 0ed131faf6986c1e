-- Returns the recipients whose outcome is uncertain, each with the batch whose counters count it:
-- the last one that it was in. That batch must be closed.
SELECT d.recipient, d.attempt, b.number AS batch
FROM deliveries d JOIN LATERAL (
	SELECT number, closed_at FROM batches
	WHERE mailing = d.mailing AND d.recipient BETWEEN first AND last AND (members IS NULL OR d.recipient = ANY(members))
	ORDER BY number DESC LIMIT 1) b ON b.closed_at IS NOT NULL
WHERE d.mailing = @mailing AND d.final AND d.status = 'uncertain'
