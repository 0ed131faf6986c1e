-- Has recipients that are held as uncertain sent to again, also in the counters of their batches,
-- and returns their number. HELD is resolve_held.sql.
WITH held AS MATERIALIZED (
HELD
), opened AS (
	UPDATE deliveries d SET final = false FROM held h
	WHERE d.mailing = @mailing AND d.recipient = h.recipient AND d.attempt = h.attempt
), deferred AS (
	INSERT INTO deferrals (mailing, recipient, batch, due) SELECT @mailing, recipient, batch, now() FROM held
), counted AS (
	UPDATE batches b SET uncertain = uncertain - n, possibly_twice = possibly_twice - twice
	FROM (SELECT batch, count(*) AS n, count(*) FILTER (WHERE EXISTS (SELECT FROM deliveries d
			WHERE d.mailing = @mailing AND d.recipient = held.recipient AND d.possibly_twice
			AND d.status NOT IN ('intent', 'not_sent', 'deferred', 'refused'))) AS twice
		FROM held GROUP BY batch) h
	WHERE b.mailing = @mailing AND b.number = h.batch
)
SELECT count(*) FROM held
