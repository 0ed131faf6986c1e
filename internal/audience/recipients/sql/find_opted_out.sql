-- Notes the first member of each address that must not be mailed, with the reason, and counts them.
-- A repeated member is noted already.
--
-- The requests about whole domains are a range of their keys. Without any, the members are not read
-- for them.
INSERT INTO exceptions (position, why)
SELECT DISTINCT ON (position) position, why FROM (
	SELECT m.position, x.why, x.rank FROM members m JOIN exclusions x ON x.address_key = m.address_key
	WHERE x.scope IS NULL OR x.scope = ANY(@scopes::text[])
	UNION ALL
	SELECT m.position, x.why, x.rank FROM members m JOIN exclusions x ON x.address_key = domain_key(m.address_key)
	WHERE x.address_key >= '@' AND x.address_key < 'A' AND x.scope = ANY(@scopes::text[])
		AND (SELECT EXISTS (SELECT FROM opt_outs WHERE address_key >= '@' AND address_key < 'A'))) found
ORDER BY position, rank
ON CONFLICT DO NOTHING
