-- Resolves recipients that are held as uncertain as sent, also in the counters of their batches,
-- and returns their number. HELD is resolve_held.sql.
WITH held AS MATERIALIZED (
HELD
), sent AS (
	UPDATE deliveries d SET status = 'sent', reply = 'somebody has found out that it was received'
	FROM held h WHERE d.mailing = @mailing AND d.recipient = h.recipient AND d.attempt = h.attempt
), counted AS (
	UPDATE batches b SET uncertain = uncertain - n, sent = sent + n
	FROM (SELECT batch, count(*) AS n FROM held GROUP BY batch) h WHERE b.mailing = @mailing AND b.number = h.batch
)
SELECT count(*) FROM held
