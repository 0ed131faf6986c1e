-- Moves a recipient of a closed batch from the uncertain to those of its late result. The counters
-- of a batch that was closed because its mailing was ended early do not count the recipient.
UPDATE batches SET uncertain = uncertain - 1, sent = sent + (@status::text = 'sent')::int,
	bounced = bounced + (@status::text = 'bounced')::int,
	failed = failed + (@status::text NOT IN ('sent', 'bounced'))::int
WHERE mailing = @mailing AND number = @batch AND uncertain > 0
