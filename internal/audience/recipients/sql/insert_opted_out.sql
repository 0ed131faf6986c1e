-- Inserts those who must not be mailed, numbered from behind the others (@mailable) on.
INSERT INTO recipients (mailing, number, address, address_key, attributes)
SELECT @mailing, @mailable::int + row_number() OVER (ORDER BY m.position ROWS UNBOUNDED PRECEDING),
	m.address, m.address_key, m.attributes
FROM members m JOIN exceptions e ON e.position = m.position
WHERE e.why IS NOT NULL
