-- Returns those of the keys that a mailing with the scopes leaves out.
SELECT key FROM unnest(@keys::text[]) key
WHERE EXISTS (SELECT FROM exclusions x
	WHERE x.address_key IN (key, domain_key(key)) AND (x.scope IS NULL OR x.scope = ANY(@scopes::text[])))
