-- Notes the first member of each address that has opted out, and counts them. A repeated member is
-- noted already.
INSERT INTO exceptions (position, opted_out)
SELECT m.position, true FROM MEMBERS m JOIN opt_outs o ON o.address_key = m.address_key WHERE m.list_id = @list
ON CONFLICT DO NOTHING
