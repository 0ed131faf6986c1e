-- Counts recipients with their first event of a class.
UPDATE event_counts SET hard = hard + @hard, soft = soft + @soft, complaint = complaint + @complaint,
	unsubscribe = unsubscribe + @unsubscribe, automatic = automatic + @automatic, delayed = delayed + @delayed,
	delivered = delivered + @delivered
WHERE mailing = @mailing
