-- Returns a line for each recipient, in order: the final delivery, or the latest one of a recipient
-- that has no outcome. With @outcomes, only recipients that have one of them. The events are a
-- scalar subquery, so that they are a look-up for each recipient.
SELECT r.number, r.address, CASE WHEN d.final THEN d.status::text ELSE 'open' END AS outcome,
	coalesce(d.attempts, 0) AS attempts, coalesce(d.twice, false) AS possibly_twice,
	coalesce(d.drop_point, '') AS drop_point, coalesce(d.code, 0) AS code, coalesce(d.enhanced, '') AS enhanced,
	coalesce(d.reply, '') AS reply, coalesce(d.answered_at, d.at) AS at,
	coalesce((SELECT string_agg(class, ' ' ORDER BY at) FROM (
		SELECT class, min(at) AS at FROM events
		WHERE mailing = r.mailing AND recipient = r.number GROUP BY class) e), '') AS events
FROM recipients r
LEFT JOIN LATERAL (
	SELECT *, max(attempt) OVER () AS attempts,
		bool_or(possibly_twice AND status NOT IN ('intent', 'not_sent', 'deferred', 'refused')) OVER () AS twice
	FROM deliveries WHERE mailing = r.mailing AND recipient = r.number
	ORDER BY final DESC, attempt DESC LIMIT 1) d ON true
WHERE r.mailing = @mailing
	AND (@outcomes::text[] = '{}' OR CASE WHEN d.final THEN d.status::text ELSE 'open' END = ANY(@outcomes))
ORDER BY r.number
