-- Drops the reports that are too old, and the oldest ones of too many.
DELETE FROM unread_reports WHERE received_at < now() - @keep::interval
	OR key <= (SELECT key FROM unread_reports ORDER BY key DESC OFFSET @most LIMIT 1)
