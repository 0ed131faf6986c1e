-- Does what gate.sql does, with the same arguments, where a recipient would get a second outcome.
--
-- The first of two outcomes stands. The later answer becomes a row that is not final, and "sent"
-- marks the recipient as possibly twice. A result of a claim that does not hold is no outcome. So a
-- fault of the past holds up neither the other connections of the worker nor the end of the batch.
-- It is a statement of its own because it looks for each recipient's outcome, which costs too much
-- to be done for every message.
WITH held AS MATERIALIZED (
	SELECT b.mailing, b.number, b.fence FROM batches b
	JOIN unnest($1::bigint[], $2::int[], $3::bigint[]) AS c(mailing, number, fence)
		ON b.mailing = c.mailing AND b.number = c.number AND b.fence = c.fence
	WHERE b.closed_at IS NULL
	FOR SHARE OF b SKIP LOCKED
), given AS (
	SELECT x.*, x.final AND (
		row_number() OVER (PARTITION BY x.mailing, x.recipient, x.final ORDER BY x.attempt) > 1
		OR EXISTS (SELECT FROM deliveries o WHERE o.mailing = x.mailing AND o.recipient = x.recipient AND o.final)
	) AS second
	FROM unnest($4::bigint[], $5::int[], $6::bigint[], $7::int[], $8::int[], $9::text[], $10::bool[],
			$11::smallint[], $12::text[], $13::text[])
		AS x(mailing, batch, fence, recipient, attempt, status, final, code, enhanced, reply)
	JOIN held h ON h.mailing = x.mailing AND h.number = x.batch AND h.fence = x.fence
), results AS (
	UPDATE deliveries d SET status = x.status::delivery_status, final = x.final AND NOT x.second,
		possibly_twice = possibly_twice OR x.second AND x.status = 'sent', code = nullif(x.code, 0),
		enhanced = nullif(x.enhanced, ''), reply = nullif(x.reply, ''), answered_at = now()
	FROM given x
	WHERE d.mailing = x.mailing AND d.recipient = x.recipient AND d.attempt = x.attempt
		AND (d.status = 'intent' OR d.status = 'not_sent' AND x.status IN ('bounced', 'refused'))
), intents AS (
	INSERT INTO deliveries (mailing, recipient, attempt, status, final, possibly_twice, drop_point)
	SELECT x.mailing, x.recipient, x.attempt, 'intent', false, x.twice, x.drop_point
	FROM unnest($14::bigint[], $15::int[], $16::bigint[], $17::int[], $18::int[], $19::bool[], $20::text[])
		AS x(mailing, batch, fence, recipient, attempt, twice, drop_point)
	JOIN held h ON h.mailing = x.mailing AND h.number = x.batch AND h.fence = x.fence
	ON CONFLICT DO NOTHING
)
SELECT mailing, number, fence FROM held
