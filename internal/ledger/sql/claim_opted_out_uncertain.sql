-- Makes the latest uncertain attempt of each recipient the outcome, unless the recipient has one.
UPDATE deliveries d SET final = true WHERE mailing = @mailing AND recipient = ANY(@recipients) AND attempt = (
	SELECT max(attempt) FROM deliveries u
	WHERE u.mailing = @mailing AND u.recipient = d.recipient AND u.status = 'uncertain')
AND NOT EXISTS (SELECT FROM deliveries o WHERE o.mailing = @mailing AND o.recipient = d.recipient AND o.final)
