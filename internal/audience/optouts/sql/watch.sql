-- Returns the present snapshot and the requests that it sees and an earlier one (@known) did not,
-- at most @most of them.
--
-- The index gives those that were written by transactions that the earlier snapshot did not see
-- finished. A database that was restored from another server has requests of transactions that are
-- yet to come here: they are left out.
SELECT s::text, x.address_key, x.scope, x.why
FROM (SELECT pg_current_snapshot() AS s) now
LEFT JOIN LATERAL (
	SELECT o.address_key, o.scope,
		(SELECT why FROM exclusions e WHERE e.address_key = o.address_key AND e.scope = o.scope ORDER BY e.rank LIMIT 1) AS why
	FROM opt_outs o
	WHERE o.written_by >= pg_snapshot_xmin(@known::text::pg_snapshot) AND o.written_by < pg_snapshot_xmax(s)
		AND NOT pg_visible_in_snapshot(o.written_by, @known::text::pg_snapshot)
	LIMIT @most) x ON true
