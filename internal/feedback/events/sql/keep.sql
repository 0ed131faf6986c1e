-- Keeps a report that nobody could read.
INSERT INTO unread_reports (mailing, recipient, origin, size, content, identity)
SELECT @mailing, @recipient, @origin, @size, @content, @identity
WHERE EXISTS (SELECT FROM recipients WHERE mailing = @mailing AND number = @recipient)
	AND (SELECT count(*) FROM unread_reports WHERE mailing = @mailing AND recipient = @recipient) < @per_recipient
ON CONFLICT (identity) DO NOTHING
