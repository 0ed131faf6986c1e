-- Returns which of the claims may yet hold although gate.sql has skipped their batches: another
-- transaction takes the batch over, or closes it, and is not committed.
SELECT b.mailing, b.number, b.fence FROM batches b
JOIN unnest($1::bigint[], $2::int[], $3::bigint[]) AS c(mailing, number, fence)
	ON b.mailing = c.mailing AND b.number = c.number AND b.fence = c.fence
WHERE b.closed_at IS NULL
