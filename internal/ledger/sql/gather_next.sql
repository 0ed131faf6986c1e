-- Returns how many recipients wait, and when it is worth gathering again: when a batch can be
-- filled, when the first has waited long enough, or when all are due. Also returns the time.
SELECT count(*), least(min(due) + @linger * interval '1 second', max(due),
	(SELECT due FROM deferrals WHERE mailing = @mailing ORDER BY due OFFSET @size - 1 LIMIT 1)), now()
FROM deferrals WHERE mailing = @mailing
