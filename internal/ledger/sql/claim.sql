-- Takes a batch over, unless somebody has since its fence was read: everybody who claimed it before
-- is shut out.
UPDATE batches SET fence = fence + 1 WHERE mailing = @mailing AND number = @batch AND fence = @fence
RETURNING fence, first, last, members, opened_at, closed_at IS NOT NULL AS closed,
	sent, bounced, failed, opted_out, uncertain, unsent, possibly_twice
