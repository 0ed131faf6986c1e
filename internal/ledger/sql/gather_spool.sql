-- Drops the rendered messages of closed batches for which nobody waits any more.
DELETE FROM spool s USING batches b
WHERE s.mailing = @mailing AND s.batch = ANY(@batches) AND b.mailing = s.mailing AND b.number = s.batch
	AND b.closed_at IS NOT NULL
	AND NOT EXISTS (SELECT FROM deferrals d WHERE d.mailing = @mailing AND d.batch = s.batch)
