-- Drops the findings that suppress nobody any more: those of soft bounces that are too old to be
-- counted, and the hard ones of the same age. An open mailing keeps its findings until its end. A row
-- that another transaction writes is left to the next call.
DELETE FROM bounce_findings WHERE (address_key, mailing, class) IN (
	SELECT f.address_key, f.mailing, f.class FROM bounce_findings f
	WHERE f.at < now() - @keep::interval
		AND NOT EXISTS (SELECT FROM mailings m WHERE m.id = f.mailing AND m.closed_at IS NULL)
	FOR UPDATE OF f SKIP LOCKED)
