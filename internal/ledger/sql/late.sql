-- Writes a result that comes late: its batch may belong to another attempt, be closed, or its
-- mailing may have ended. Returns whether the recipient was counted as uncertain, and no row if
-- nothing is written.
--
-- The result is the truth about its attempt. It is written if the ledger knows no answer of that
-- attempt, if no later attempt was made, and if the recipient has no outcome but this attempt's
-- uncertainty. An outcome is only replaced by an outcome: a recipient who was not reached after all
-- would have to be sent to again, which is for an operator to decide (resolve).
UPDATE deliveries d SET status = @status::delivery_status, final = @final, code = nullif(@code::smallint, 0),
	enhanced = nullif(@enhanced::text, ''), reply = nullif(@reply::text, ''), answered_at = now()
FROM (
	SELECT final FROM deliveries
	WHERE mailing = @mailing AND recipient = @recipient AND attempt = @attempt
		AND (status = 'intent' OR status = 'uncertain' AND @status::text <> 'uncertain')
	FOR UPDATE) before
WHERE d.mailing = @mailing AND d.recipient = @recipient AND d.attempt = @attempt
	AND (@final::bool OR NOT before.final)
	AND NOT EXISTS (SELECT FROM deliveries o
		WHERE o.mailing = @mailing AND o.recipient = @recipient
		AND (o.attempt > @attempt OR o.final AND o.attempt <> @attempt))
RETURNING before.final
