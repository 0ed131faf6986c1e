-- Sets a limit. A change closes the frames that are open: the next turn is one interval of the new
-- rate after their last one. Setting the rate that is set already changes nothing, so that every
-- start of a mailing may repeat it.
INSERT INTO rate_limits AS l (kind, name, mailing, messages, seconds, spacing, turns, given)
VALUES (@kind, @name, @mailing, @messages, @seconds, @spacing, @turns, @turns)
ON CONFLICT (mailing, kind, name) DO UPDATE SET
	messages = excluded.messages, seconds = excluded.seconds, spacing = excluded.spacing, turns = excluded.turns,
	frame_at = l.frame_at + (l.turns - 1) * l.spacing - (excluded.turns - 1) * excluded.spacing,
	given = excluded.turns, updated_at = clock_timestamp()
WHERE l.messages <> excluded.messages OR l.seconds <> excluded.seconds
