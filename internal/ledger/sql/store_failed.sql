-- Gives recipients that cannot be rendered the outcome "failed". An outcome that is there stays.
INSERT INTO deliveries (mailing, recipient, attempt, status, final, reply, answered_at)
SELECT @mailing, x.recipient, 0, 'failed', true, x.reason, now()
FROM unnest(@recipients::int[], @reasons::text[]) AS x(recipient, reason)
ON CONFLICT DO NOTHING
