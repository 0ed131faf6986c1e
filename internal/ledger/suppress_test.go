package ledger_test

import (
	"slices"
	"testing"

	"directmailer/internal/counts"
	"directmailer/internal/ledger"
	"directmailer/internal/mailings"
)

// answered gives recipients from first to last their answer, by a drop point.
func (f *fixture) answered(dropPoint string, first, last int32, status ledger.Status, enhanced string) {
	f.Helper()
	f.exec(`
		INSERT INTO deliveries (mailing, recipient, attempt, status, final, drop_point, enhanced, answered_at)
		SELECT $1, n, 1, $4::text::delivery_status, true, $5, nullif($6, ''), now() FROM generate_series($2::int, $3::int) n`,
		f.key, first, last, string(status), dropPoint, enhanced)
}

func (f *fixture) ended(complete bool) ledger.Ending {
	f.Helper()
	e, err := f.ledger.Close(f.Context(), f.key, complete, "ended", "")
	if err != nil {
		f.Fatal(err)
	}
	return e
}

func (f *fixture) suppressed() []string {
	f.Helper()
	var keys []string
	f.row(`SELECT coalesce(array_agg(address_key || ' ' || code || ' ' || coalesce(mailing, '') ORDER BY address_key),
		'{}') FROM suppressions`)(&keys)
	return keys
}

func TestOnlyAddressesThatDoNotExistAreSuppressedAndOnlyAtTheEnd(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 9, 9)
	c := f.claim(1, false)
	for i, enhanced := range []string{"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.7", "5.1.8", "5.1.10", "5.1.0", "5.2.1"} {
		f.intend(c, int32(i+1), 1)
		f.answer(c, int32(i+1), 1, ledger.Bounced, enhanced)
	}
	f.want(f.settle(c).Closed, true)
	f.want(f.suppressed(), []string{})
	f.want(f.ended(true).Suppression, mailings.Suppression{Suppressed: 3})
	want := []string{"r1@example.com 5.1.1 m", "r4@example.com 5.1.6 m", "r7@example.com 5.1.10 m"}
	f.want(f.suppressed(), want)
	f.exec(`DELETE FROM suppressions WHERE address_key = 'r1@example.com'`) // somebody has removed it
	f.want(f.ended(true).Suppression, mailings.Suppression{Suppressed: 3})
	f.want(f.suppressed(), want[1:])
	m, err := mailings.New(f.pool).Get(t.Context(), "m")
	if err != nil {
		t.Fatal(err)
	}
	f.want(*m.Suppression, mailings.Suppression{Suppressed: 3})
}

// The recipients of a large mailing are looked at in several parts.
func TestTheSuppressionsOfAllPartsOfAMailingAreCounted(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 7, 7)
	f.ledger = ledger.NewChunked(f.pool, 3)
	c := f.claim(1, false)
	for r := int32(1); r <= 7; r++ {
		f.intend(c, r, 1)
		f.answer(c, r, 1, ledger.Bounced, "5.1.1")
	}
	f.settle(c)
	f.want(f.ended(true).Suppression, mailings.Suppression{Suppressed: 7})
	f.want(len(f.suppressed()), 7)
}

func TestAPersonsRequestIsNotOverwrittenByABounce(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 2, 2)
	c := f.claim(1, false)
	for r := int32(1); r <= 2; r++ {
		f.intend(c, r, 1)
		f.answer(c, r, 1, ledger.Bounced, "5.1.1")
	}
	f.settle(c)
	f.exec(`INSERT INTO opt_outs (address_key, reason) VALUES ('r1@example.com', 'asked')`)
	f.want(f.ended(true).Suppression, mailings.Suppression{Suppressed: 2})
	f.want(f.suppressed(), []string{"r1@example.com 5.1.1 m", "r2@example.com 5.1.1 m"})
	var request string
	f.row(`SELECT address_key || ' ' || scope || ' ' || reason FROM opt_outs`)(&request)
	f.want(request, "r1@example.com all asked")
}

func TestADropPointThatKnowsTooFewOfItsRecipientsSuppressesNobody(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name          string
		bad, answered int32
		withheld      bool
	}{
		{"as many as may be", 5, 100, false},
		{"one more", 6, 100, true},
		{"too few to tell", 99, 99, false},
		{"a whole list", 100, 100, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			const other = 40 // recipients of another drop point, one of whom does not exist
			f := newFixture(t, int(c.answered)+other+20, 30)
			f.ledger = ledger.NewChunked(f.pool, 50) // a drop point's answers are in several chunks
			f.answered("mx", 1, c.bad, ledger.Bounced, "5.1.1")
			if c.bad < c.answered {
				f.answered("mx", c.bad+1, c.answered, ledger.Sent, "2.0.0")
			}
			f.answered("spare", c.answered+1, c.answered+1, ledger.Bounced, "5.1.10")
			f.answered("spare", c.answered+2, c.answered+other, ledger.Sent, "")
			// Those are no answers of the drop point: a share of all recipients would be smaller.
			f.answered("mx", c.answered+other+1, c.answered+other+20, ledger.Failed, "")
			want := mailings.Suppression{Suppressed: int64(c.bad) + 1}
			if c.withheld {
				want = mailings.Suppression{
					Suppressed: 1,
					Withheld:   []mailings.Withheld{{DropPoint: "mx", Bad: int64(c.bad), Answered: int64(c.answered)}},
				}
			}
			f.want(f.ended(false).Suppression, want)
			f.want(f.ended(false).Suppression, want) // repeated, it answers the same
			f.want(int64(len(f.suppressed())), want.Suppressed)
			f.want(slices.Contains(f.suppressed(), "r1@example.com 5.1.1 m"), !c.withheld)
		})
	}
}

func TestASuppressedAddressIsLeftOutOfABatchLikeOneThatAsked(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 3, 3)
	f.exec(
		`INSERT INTO suppressions (address_key, class, code, origin, mailing)
			VALUES ('r2@example.com', 'hard', '5.1.1', 'answer', 'earlier')`,
	)
	f.exec(`INSERT INTO opt_outs (address_key, reason) VALUES ('r1@example.com', 'asked')`)
	c := f.claim(1, false)
	f.want(c.Tried, map[int32]ledger.Tried{1: {Final: true}, 2: {Final: true}})
	f.send(c, 3)
	f.want(f.settle(c).Counts, counts.Counts{Sent: 1, OptedOut: 2})
}

func TestAClaimRespectsRequestsOfTheMailingsScopesAndOfDomains(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 6, 6)
	f.exec(`UPDATE mailings SET opt_out_scopes = '{all,list:people,topic:news}'`)
	f.exec(`UPDATE recipients SET address_key = 'r6@example.org' WHERE number = 6`)
	f.exec(`INSERT INTO opt_outs (address_key, scope, reason) VALUES ('r1@example.com', 'list:people', 'asked'),
		('r2@example.com', 'topic:news', 'complaint'), ('r3@example.com', 'list:customers', 'asked'),
		('r4@example.com', 'topic:offers', 'asked'), ('@example.org', 'all', 'operator')`)
	f.exec(`INSERT INTO suppressions (address_key, class, code, origin, expires_at)
		VALUES ('r5@example.com', 'soft', '4.2.2', 'report', now() - interval '1 second')`)
	c := f.claim(1, false)
	f.want(c.Tried, map[int32]ledger.Tried{1: {Final: true}, 2: {Final: true}, 6: {Final: true}})
	var reasons []string
	f.row(`SELECT array_agg(recipient || ' ' || reply ORDER BY recipient) FROM deliveries`)(&reasons)
	f.want(reasons, []string{"1 opted out of list people (asked)", "2 opted out of topic news (complaint)",
		"6 opted out of all mail (operator, whole domain)"})
}
