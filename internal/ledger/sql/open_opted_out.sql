-- Gives recipients who must not be mailed, whose numbers come after all others, that outcome, with
-- the reason. The freeze has handed them over in the temporary table left_out.
INSERT INTO deliveries (mailing, recipient, attempt, status, final, reply)
SELECT @mailing, number, 0, 'opted_out', true, why FROM left_out
