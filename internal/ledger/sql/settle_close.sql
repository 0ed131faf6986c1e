-- Closes a batch with its counts.
UPDATE batches SET closed_at = now(), sent = @sent, bounced = @bounced, failed = @failed, opted_out = @opted_out,
	uncertain = @uncertain, unsent = @unsent, possibly_twice = @possibly_twice
WHERE mailing = @mailing AND number = @batch
