-- Counts an attempt to render a batch, before it renders anything. Returns the number of attempts
-- that have begun and not ended, this one included. 0 means that @most attempts before it have died:
-- this one must not render, and the count begins again. Returns no row if there is nothing left to
-- render.
UPDATE batches b SET renderings = CASE WHEN renderings >= @most THEN 0 ELSE renderings + 1 END
WHERE mailing = @mailing AND number = @batch AND closed_at IS NULL
	AND NOT EXISTS (SELECT FROM spool s WHERE s.mailing = b.mailing AND s.batch = b.number)
RETURNING renderings
