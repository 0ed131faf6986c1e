-- Gives every recipient without an outcome the outcome "unsent".
INSERT INTO deliveries (mailing, recipient, attempt, status, final, reply)
SELECT r.mailing, r.number, 0, 'unsent', true, 'the mailing ended first'
FROM recipients r WHERE r.mailing = @mailing AND r.number BETWEEN @first AND @last
AND NOT EXISTS (SELECT FROM deliveries d
	WHERE d.mailing = @mailing AND d.recipient BETWEEN @first AND @last AND d.recipient = r.number AND d.final)
ON CONFLICT DO NOTHING
