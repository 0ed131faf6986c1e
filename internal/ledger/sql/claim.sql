-- Takes a batch over: everybody who claimed it before is shut out. Returns no row if somebody has
-- claimed it since @fence was read.
UPDATE batches SET fence = fence + 1 WHERE mailing = @mailing AND number = @batch AND fence = @fence
RETURNING fence, first, last, members, opened_at, closed_at IS NOT NULL AS closed,
	sent, bounced, failed, opted_out, uncertain, unsent, possibly_twice
