-- Returns the events of a mailing, by recipient and time.
SELECT e.recipient AS number, r.address, e.kind, e.class, e.enhanced, e.diagnostic, e.origin, e.at
FROM events e JOIN recipients r ON r.mailing = e.mailing AND r.number = e.recipient
WHERE e.mailing = @mailing ORDER BY e.recipient, e.at, e.key
