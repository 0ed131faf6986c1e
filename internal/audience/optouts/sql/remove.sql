-- Removes the requests that are like one of those given. An empty text stands for any.
DELETE FROM opt_outs o
USING jsonb_to_recordset(@rows::jsonb) AS x(key text, scope text, reason text, mailing text)
WHERE o.address_key = x.key AND x.scope IN ('', o.scope) AND x.reason IN ('', o.reason)
	AND x.mailing IN ('', o.mailing)
