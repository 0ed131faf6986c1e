-- Returns what is known of recipients: the ID, topic and origin of the mailing, the address, and how
-- many events there are. A number without a recipient has no row.
SELECT r.mailing, r.number, r.address, r.address_key, m.id, m.topic, m.origin AS mailing_origin,
	(SELECT count(*) FROM events e WHERE e.mailing = r.mailing AND e.recipient = r.number) AS events
FROM unnest(@mailings::bigint[], @numbers::int[]) AS x(mailing, number)
JOIN recipients r ON r.mailing = x.mailing AND r.number = x.number
JOIN mailings m ON m.key = r.mailing
