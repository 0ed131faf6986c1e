-- Fails recipients whose time for later rounds is over. Code and text of the last refusal stay.
UPDATE deliveries d SET status = 'failed', final = true
FROM unnest(@recipients::int[], @attempts::int[]) AS x(recipient, attempt)
WHERE d.mailing = @mailing AND d.recipient = ANY(@recipients) AND d.recipient = x.recipient AND d.attempt = x.attempt
