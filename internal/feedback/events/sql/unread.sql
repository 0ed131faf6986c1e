-- Returns the reports that nobody could read, the newest first; with @key, that one.
SELECT u.key, coalesce(m.id, '') AS mailing, u.recipient, coalesce(r.address, '') AS address, u.origin,
	u.received_at, u.size, u.content
FROM unread_reports u
LEFT JOIN mailings m ON m.key = u.mailing
LEFT JOIN recipients r ON r.mailing = u.mailing AND r.number = u.recipient
WHERE @key::bigint = 0 OR u.key = @key ORDER BY u.key DESC
