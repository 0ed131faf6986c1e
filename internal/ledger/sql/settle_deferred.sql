-- Has recipients wait for a later round, each for its own pause in seconds.
INSERT INTO deferrals (mailing, recipient, batch, due)
SELECT @mailing, x.recipient, @batch, now() + x.pause * interval '1 second'
FROM unnest(@recipients::int[], @pauses::float8[]) AS x(recipient, pause)
