-- Gives recipients who opted out before the freeze, whose numbers come after all others, that
-- outcome.
INSERT INTO deliveries (mailing, recipient, attempt, status, final)
SELECT mailing, number, 0, 'opted_out', true FROM recipients WHERE mailing = @mailing AND number > @mailable
