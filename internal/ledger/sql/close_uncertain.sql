-- Of each recipient without an outcome, the latest attempt whose answer was never seen becomes the
-- outcome.
UPDATE deliveries d SET status = 'uncertain', final = true, answered_at = coalesce(d.answered_at, now())
FROM (SELECT recipient, max(attempt) FILTER (WHERE status IN ('intent', 'uncertain')) AS attempt
      FROM deliveries WHERE mailing = @mailing AND recipient BETWEEN @first AND @last
      GROUP BY recipient HAVING NOT bool_or(final)) latest
WHERE d.mailing = @mailing AND d.recipient BETWEEN @first AND @last
	AND d.recipient = latest.recipient AND d.attempt = latest.attempt
