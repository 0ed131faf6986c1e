-- +goose Up

-- The counts of an ended mailing have the names that the counts have everywhere else. Before, they
-- had the names of a Go struct, and a reader would take those that it does not know for zero.
UPDATE mailings SET counts = jsonb_build_object(
    'sent', counts->'Sent', 'bounced', counts->'Bounced', 'failed', counts->'Failed',
    'opted_out', counts->'OptedOut', 'uncertain', counts->'Uncertain', 'unsent', counts->'Unsent',
    'possibly_twice', counts->'PossiblyTwice')
WHERE counts IS NOT NULL;

-- +goose Down
UPDATE mailings SET counts = jsonb_build_object(
    'Sent', counts->'sent', 'Bounced', counts->'bounced', 'Failed', counts->'failed',
    'OptedOut', counts->'opted_out', 'Uncertain', counts->'uncertain', 'Unsent', counts->'unsent',
    'PossiblyTwice', counts->'possibly_twice')
WHERE counts IS NOT NULL;
