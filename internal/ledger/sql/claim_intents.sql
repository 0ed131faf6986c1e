-- Turns intents that were left behind into uncertain attempts. Such an attempt is the outcome if
-- the mailing holds uncertain recipients (@hold), or if the recipient has @most attempts without an
-- answer.
--
-- It makes no second outcome: not of a recipient that has one, and not of two intents of one
-- recipient.
UPDATE deliveries d SET status = 'uncertain', reply = 'the answer was never seen', answered_at = now(),
	final = (@hold OR (SELECT count(*) FROM deliveries u
			WHERE u.mailing = @mailing AND u.recipient = d.recipient AND u.status IN ('uncertain', 'intent')) >= @most)
		AND NOT EXISTS (SELECT FROM deliveries o
			WHERE o.mailing = @mailing AND o.recipient = d.recipient
			AND (o.final OR o.status = 'intent' AND o.attempt > d.attempt))
WHERE mailing = @mailing AND recipient OF_BATCH AND status = 'intent'
