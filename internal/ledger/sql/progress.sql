-- Returns how far a mailing is, by the counters of its closed batches. counts is NULL until the
-- ledger is closed.
SELECT m.counts AS ended, m.recipients - m.mailable AS opted_out_before,
	count(b.rendered_at) AS rendered, count(b.closed_at) AS closed,
	coalesce(sum(b.sent) FILTER (WHERE b.closed_at IS NOT NULL), 0) AS sent,
	coalesce(sum(b.bounced) FILTER (WHERE b.closed_at IS NOT NULL), 0) AS bounced,
	coalesce(sum(b.failed) FILTER (WHERE b.closed_at IS NOT NULL), 0) AS failed,
	coalesce(sum(b.opted_out) FILTER (WHERE b.closed_at IS NOT NULL), 0) AS opted_out,
	coalesce(sum(b.uncertain) FILTER (WHERE b.closed_at IS NOT NULL), 0) AS uncertain,
	coalesce(sum(b.unsent) FILTER (WHERE b.closed_at IS NOT NULL), 0) AS unsent,
	coalesce(sum(b.possibly_twice) FILTER (WHERE b.closed_at IS NOT NULL), 0) AS possibly_twice,
	(SELECT count(*) FROM deferrals d WHERE d.mailing = m.key) AS deferred,
	(SELECT min(due) FROM deferrals d WHERE d.mailing = m.key) AS next_round
FROM mailings m LEFT JOIN batches b ON b.mailing = m.key WHERE m.key = @mailing GROUP BY m.key
