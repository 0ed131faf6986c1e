-- Locks the counts of the mailings for those who write their events. Mailings that do not exist
-- have none.
INSERT INTO event_counts (mailing)
SELECT key FROM mailings WHERE key = ANY(@mailings) ORDER BY key
ON CONFLICT (mailing) DO UPDATE SET mailing = excluded.mailing
