-- Notes each member whose address an earlier member of the list has, and counts them. MEMBERS is
-- list_members or the staged answer of a query.
INSERT INTO exceptions (position, opted_out)
SELECT position, false FROM (
	SELECT position, row_number() OVER (PARTITION BY address_key ORDER BY position ROWS UNBOUNDED PRECEDING) AS nth
	FROM MEMBERS WHERE list_id = @list) m
WHERE nth > 1
