-- Of each recipient that cannot be rendered again and has no outcome, the latest attempt without an
-- answer becomes the outcome "uncertain": the recipient may have the earlier mail.
UPDATE deliveries d SET status = 'uncertain', final = true, answered_at = coalesce(d.answered_at, now())
FROM (SELECT recipient, max(attempt) FILTER (WHERE status IN ('intent', 'uncertain')) AS attempt
      FROM deliveries WHERE mailing = @mailing AND recipient = ANY(@recipients)
      GROUP BY recipient HAVING NOT bool_or(final)) latest
WHERE d.mailing = @mailing AND d.recipient = ANY(@recipients)
	AND d.recipient = latest.recipient AND d.attempt = latest.attempt
