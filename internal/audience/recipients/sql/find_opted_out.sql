-- Notes the first member of each address that has opted out, and counts them. A repeated member is
-- noted already.
INSERT INTO exceptions (position, opted_out)
SELECT m.position, true FROM members m JOIN opt_outs o ON o.address_key = m.address_key
ON CONFLICT DO NOTHING
