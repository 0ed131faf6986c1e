-- Gives an outcome to recipients whose time for later rounds is over. It is "failed", with the code
-- and the text of the last refusal. But if the answer to an attempt was never seen, the recipient
-- may have the mail: then the latest such attempt becomes the outcome "uncertain".
UPDATE deliveries d SET final = true, status = CASE d.status WHEN 'uncertain' THEN d.status ELSE 'failed' END
FROM unnest(@recipients::int[], @attempts::int[]) AS x(recipient, attempt)
WHERE d.mailing = @mailing AND d.recipient = ANY(@recipients) AND d.recipient = x.recipient
	AND d.attempt = coalesce((SELECT max(u.attempt) FROM deliveries u
		WHERE u.mailing = @mailing AND u.recipient = x.recipient AND u.status = 'uncertain'), x.attempt)
