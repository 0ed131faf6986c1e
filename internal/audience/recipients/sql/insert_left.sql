-- Inserts those recipients of an earlier mailing who have one of the outcomes. They keep their
-- order, address and attributes; those who have opted out since come last. An address that does not
-- exist was suppressed when that mailing ended: to continue the bounced sends to the others, which
-- were refused for good for another reason.
INSERT INTO recipients (mailing, number, address, address_key, attributes)
SELECT @mailing, row_number() OVER (ORDER BY o.address_key IS NOT NULL, r.number),
	r.address, r.address_key, r.attributes
FROM deliveries d
JOIN recipients r ON r.mailing = d.mailing AND r.number = d.recipient
LEFT JOIN opt_outs o ON o.address_key = r.address_key
WHERE d.mailing = @earlier AND d.final AND d.status = ANY(@outcomes::text[]::delivery_status[])
