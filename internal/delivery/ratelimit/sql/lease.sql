-- Leases turns under one limit, and returns what was given: turns "given" to "given" + n - 1 of the
-- frame that starts at frame_at. It returns no row if there is no such limit.
--
-- It promises:
--   - The row is locked before the clock is read, so that a turn is given to one worker only.
--   - The turns are of the newest frame, or of the one after it if the start of that one is near
--     (@lookahead). A frame begins when the one before it ends, or now if that is past. It never begins
--     earlier.
--   - A worker that asks for turns of a frame for the first time gets no more than an equal share among
--     those who ask: the first to come does not take all.
--   - No frame lies far ahead, unless the server's clock was set back by more than @far: then the frames
--     begin anew.
--
-- @want is the number of turns that the worker wants, @newest the start of the newest frame that it
-- has asked for. All times are nanoseconds since 1970 by the server's clock.
WITH held AS MATERIALIZED (
	SELECT * FROM rate_limits WHERE kind = @kind AND name = @name AND mailing = @mailing FOR UPDATE
), timed AS MATERIALIZED (
	SELECT *, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint * 1000 AS now FROM held
), bounded AS (
	SELECT *, CASE WHEN frame_at > now + 2 * @far::bigint THEN now ELSE frame_at + turns * spacing END AS ends FROM timed
), chosen AS (
	SELECT messages, seconds, spacing, turns, now,
		now >= ends - @lookahead::bigint OR frame_at <> @newest::bigint AS first_time,
		CASE WHEN now >= ends - @lookahead::bigint THEN greatest(now, ends) ELSE frame_at END AS frame_at,
		CASE WHEN now >= ends - @lookahead::bigint THEN 0 ELSE given END AS given,
		CASE WHEN now >= ends - @lookahead::bigint THEN 1
			WHEN frame_at <> @newest::bigint THEN askers + 1 ELSE askers END AS askers,
		CASE WHEN now < ends - @lookahead::bigint THEN askers_before
			WHEN now < ends + @far::bigint THEN askers ELSE 0 END AS askers_before
	FROM bounded
), granted AS MATERIALIZED (
	SELECT *, least(@want::bigint, turns - given,
		CASE WHEN first_time THEN ceil(turns::numeric / greatest(askers, askers_before))::bigint ELSE turns END) AS n
	FROM chosen
), written AS (
	UPDATE rate_limits r SET frame_at = g.frame_at, given = g.given + g.n,
		askers = g.askers, askers_before = g.askers_before
	FROM granted g WHERE r.kind = @kind AND r.name = @name AND r.mailing = @mailing
)
SELECT messages, seconds, spacing, turns, frame_at, given, n, now FROM granted
