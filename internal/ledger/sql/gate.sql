-- Commits a group of results and intents for all connections of a worker.
--
-- It promises:
--   - Nothing is written for a claim that does not hold any more: its batch is closed, or its fence is
--     not the one that was claimed. The answer lists the claims that hold.
--   - FOR SHARE makes the next claim of the batch wait for this commit. So an intent is either seen by
--     the next claim, or refused.
--   - SKIP LOCKED does not wait for a claim that is under way, whose owner may be stopped: the other
--     batches of the group go on.
--   - Run twice with the same arguments, it changes nothing the second time.
--   - An attempt that was refused is "not sent" until it is known whom the refusal means. Then it is
--     "bounced" or "refused". No other result is changed.
--   - A result that would be the second outcome of its recipient fails the statement (unique index
--     deliveries_outcome). gate_second_outcomes.sql is for that case.
--
-- Each group of arguments holds arrays of one length:
--   $1 mailing, $2 batch, $3 fence: the claims
--   $4 mailing, $5 batch, $6 fence, $7 recipient, $8 attempt, $9 status, $10 final, $11 code,
--     $12 enhanced code, $13 reply: the results
--   $14 mailing, $15 batch, $16 fence, $17 recipient, $18 attempt, $19 possibly twice,
--     $20 drop point: the intents
WITH held AS MATERIALIZED (
	SELECT b.mailing, b.number, b.fence FROM batches b
	JOIN unnest($1::bigint[], $2::int[], $3::bigint[]) AS c(mailing, number, fence)
		ON b.mailing = c.mailing AND b.number = c.number AND b.fence = c.fence
	WHERE b.closed_at IS NULL
	FOR SHARE OF b SKIP LOCKED
), results AS (
	UPDATE deliveries d SET status = x.status::delivery_status, final = x.final, code = nullif(x.code, 0),
		enhanced = nullif(x.enhanced, ''), reply = nullif(x.reply, ''), answered_at = now()
	FROM unnest($4::bigint[], $5::int[], $6::bigint[], $7::int[], $8::int[], $9::text[], $10::bool[],
			$11::smallint[], $12::text[], $13::text[])
		AS x(mailing, batch, fence, recipient, attempt, status, final, code, enhanced, reply)
	JOIN held h ON h.mailing = x.mailing AND h.number = x.batch AND h.fence = x.fence
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
