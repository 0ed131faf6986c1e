-- Has every recipient without an outcome wait for a batch, due at once. The message is rendered
-- again.
INSERT INTO deferrals (mailing, recipient, batch, due)
SELECT @mailing, r.number, 0, now() FROM recipients r
WHERE r.mailing = @mailing
	AND NOT EXISTS (SELECT FROM deliveries d WHERE d.mailing = @mailing AND d.recipient = r.number AND d.final)
ON CONFLICT DO NOTHING
