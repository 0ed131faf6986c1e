-- Returns the addresses of the recipients from @first to @last that do not exist, with the enhanced
-- codes of their bounces and the mailing's ID, on the word of the drop points @trusted.
--
-- A test returns none: it counts nowhere.
--
-- The address is a scalar subquery, so that it is a look-up for each bounce, and not a join with
-- all recipients.
SELECT (SELECT address_key FROM recipients WHERE mailing = d.mailing AND number = d.recipient), d.enhanced,
	(SELECT id FROM mailings WHERE key = @mailing)
FROM deliveries d
WHERE d.mailing = @mailing AND d.recipient BETWEEN @first AND @last AND d.final AND d.status = 'bounced'
	AND NOT (SELECT test FROM mailings WHERE key = @mailing)
	AND d.enhanced = ANY(@bad) AND coalesce(d.drop_point, '') = ANY(@trusted)
