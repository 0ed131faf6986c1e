-- Returns what is known of recipients: the ID, topic and origin of the mailing, the address, and how
-- many events there are. A number without a recipient has no row. LIMIT makes PostgreSQL look up each
-- recipient by the whole key. Without statistics of a new mailing, it would read all its recipients.
SELECT x.mailing, x.number, r.address, r.address_key, m.id, m.topic, m.origin AS mailing_origin,
	(SELECT count(*) FROM events e WHERE e.mailing = x.mailing AND e.recipient = x.number) AS events
FROM unnest(@mailings::bigint[], @numbers::int[]) AS x(mailing, number)
CROSS JOIN LATERAL (
	SELECT address, address_key FROM recipients WHERE mailing = x.mailing AND number = x.number LIMIT 1
) r
JOIN mailings m ON m.key = x.mailing
