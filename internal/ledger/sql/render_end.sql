-- Takes an attempt to render a batch from the count: it has ended without killing its worker.
UPDATE batches SET renderings = greatest(renderings - 1, 0) WHERE mailing = @mailing AND number = @batch
