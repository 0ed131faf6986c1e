-- Gives recipients whose time for later rounds is over their outcome: "failed", with code and text of
-- the last refusal. A recipient with an attempt whose answer was never seen may have the mail: the
-- latest such attempt becomes the outcome "uncertain" instead.
UPDATE deliveries d SET final = true, status = CASE d.status WHEN 'uncertain' THEN d.status ELSE 'failed' END
FROM unnest(@recipients::int[], @attempts::int[]) AS x(recipient, attempt)
WHERE d.mailing = @mailing AND d.recipient = ANY(@recipients) AND d.recipient = x.recipient
	AND d.attempt = coalesce((SELECT max(u.attempt) FROM deliveries u
		WHERE u.mailing = @mailing AND u.recipient = x.recipient AND u.status = 'uncertain'), x.attempt)
