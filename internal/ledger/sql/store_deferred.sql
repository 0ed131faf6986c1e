-- Has recipients that could not be rendered now wait for a later round: as an attempt that was
-- refused for now. An outcome that is there stays.
INSERT INTO deliveries (mailing, recipient, attempt, status, final, reply, answered_at)
SELECT @mailing, x.recipient, 1 + coalesce((SELECT max(attempt) FROM deliveries d
		WHERE d.mailing = @mailing AND d.recipient = x.recipient), 0), 'deferred', false, x.reason, clock_timestamp()
FROM unnest(@recipients::int[], @reasons::text[]) AS x(recipient, reason)
WHERE NOT EXISTS (SELECT FROM deliveries o WHERE o.mailing = @mailing AND o.recipient = x.recipient AND o.final)
ON CONFLICT DO NOTHING
