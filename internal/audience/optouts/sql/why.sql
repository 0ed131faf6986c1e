-- Returns why a mailing with the scopes leaves the address out, by requests.
SELECT why FROM exclusions
WHERE address_key IN (@key, domain_key(@key)) AND scope = ANY(@scopes::text[])
ORDER BY rank LIMIT 1
