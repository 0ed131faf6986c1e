-- Returns batches that are not closed, and how many recipients wait for a later round. It is one
-- statement, because a call of Gather that was stopped may go on now: it moves recipients from the
-- one to the other, and must not be between two looks.
SELECT (SELECT array_agg(number ORDER BY number) FROM (
		SELECT number FROM batches WHERE mailing = @mailing AND closed_at IS NULL ORDER BY number LIMIT 1000) b),
	(SELECT count(*) FROM deferrals WHERE mailing = @mailing)
