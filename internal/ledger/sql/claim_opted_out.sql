-- Returns the recipients of a batch who have opted out.
--
-- The opt-out is a scalar subquery, so that it is a look-up for each recipient. For a join the
-- planner may read all opt-outs for each batch.
SELECT number FROM recipients r
WHERE mailing = @mailing AND number OF_BATCH AND (SELECT true FROM opt_outs o WHERE o.address_key = r.address_key)
