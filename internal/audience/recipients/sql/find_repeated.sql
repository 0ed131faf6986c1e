-- Notes each member whose address an earlier member of the list has, and counts them.
INSERT INTO exceptions (position)
SELECT position FROM (
	SELECT position, row_number() OVER (PARTITION BY address_key ORDER BY position ROWS UNBOUNDED PRECEDING) AS nth
	FROM members) m
WHERE nth > 1
