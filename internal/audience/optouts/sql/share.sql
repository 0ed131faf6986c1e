-- Returns how many recipients of a mailing bounced by bounce messages of a class, and to how many
-- it was sent. While the mailing runs, these are those of its closed batches.
SELECT (SELECT count(*) FROM bounce_findings WHERE mailing = @mailing AND class = @class),
	coalesce((SELECT coalesce((m.counts ->> 'sent')::bigint,
		(SELECT sum(b.sent) FROM batches b WHERE b.mailing = m.key)) FROM mailings m WHERE m.id = @mailing), 0)::bigint
