-- Returns the server's clock with the limits of @mailings (0: those of all mailings together; NULL:
-- every limit): those of all mailings, then those of each mailing; drop points before domains. The
-- left join makes a row for the clock when there are no limits.
SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint * 1000 AS now,
	coalesce(kind, '') AS kind, coalesce(name, '') AS name, coalesce(mailing, 0) AS mailing, coalesce(messages, 0) AS messages,
	coalesce(seconds, 0) AS seconds, coalesce(updated_at, 'epoch') AS updated_at,
	coalesce(frame_at + turns * spacing, 0) AS given_until
FROM (SELECT 1) one LEFT JOIN rate_limits ON @mailings::bigint[] IS NULL OR mailing = ANY(@mailings::bigint[])
ORDER BY mailing, array_position('{mailing,drop_point,domain}', kind), name
