-- Locks the batch of a late result, and tells whether it is closed, and its fence. Claims and
-- settlements of the batch come before or after.
SELECT closed_at IS NOT NULL, fence FROM batches WHERE mailing = @mailing AND number = @batch FOR UPDATE
