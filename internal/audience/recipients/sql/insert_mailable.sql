-- Inserts every member that is no exception, numbered from 1 in the list's order.
INSERT INTO recipients (mailing, number, address, address_key, attributes)
SELECT @mailing, row_number() OVER (ORDER BY m.position ROWS UNBOUNDED PRECEDING),
	m.address, m.address_key, m.attributes
FROM members m LEFT JOIN exceptions e ON e.position = m.position
WHERE e.position IS NULL
