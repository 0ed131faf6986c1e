-- Divides the recipients from 1 to @mailable into batches of @size.
INSERT INTO batches (mailing, number, first, last)
SELECT @mailing, n, (n - 1) * @size::int + 1, least(n * @size::int, @mailable::int)
FROM generate_series(1, ceil(@mailable::numeric / @size::numeric)::int) AS n
