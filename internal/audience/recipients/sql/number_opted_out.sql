-- Hands the reasons to the ledger (OpenBatches), by the number of the recipient.
INSERT INTO left_out (number, why)
SELECT @mailable::int + row_number() OVER (ORDER BY position ROWS UNBOUNDED PRECEDING), why
FROM exceptions WHERE why IS NOT NULL
