-- Counts, for each drop point, the answers that are outcomes of the recipients from @first to
-- @last: how many there are, and how many say that the address does not exist.
SELECT coalesce(drop_point, ''), count(*) FILTER (WHERE status = 'bounced' AND enhanced = ANY(@bad)), count(*)
FROM deliveries
WHERE mailing = @mailing AND recipient BETWEEN @first AND @last AND final AND status IN ('sent', 'bounced')
GROUP BY 1
