package ledger

import "strings"

// commitArgs holds the column arrays that the statement takes, and its answer. It is reused from
// commit to commit to avoid allocation.
type commitArgs struct {
	claims, results, intents   batchColumns
	recipient, intentRecipient []int32
	attempt, intentAttempt     []int32
	code                       []int16
	status, enhanced, reply    []string
	dropPoint                  []string
	final, twice               []bool

	asked   map[claimKey]bool // claims of the group
	held    map[claimKey]bool // claims that hold, as the statement has found
	answers []error
}

// batchColumns says of each entry which batch it is for, and under which fence.
type batchColumns struct {
	mailing []int64
	number  []int32
	fence   []int64
}

func (c *batchColumns) add(claim *Claim) {
	c.mailing = append(c.mailing, claim.Mailing)
	c.number = append(c.number, claim.Number)
	c.fence = append(c.fence, claim.Fence)
}

func (c *batchColumns) reset() {
	c.mailing, c.number, c.fence = c.mailing[:0], c.number[:0], c.fence[:0]
}

func (a *commitArgs) reset() {
	if a.asked == nil {
		a.asked, a.held = map[claimKey]bool{}, map[claimKey]bool{}
	}
	a.claims.reset()
	a.results.reset()
	a.intents.reset()
	a.recipient, a.intentRecipient = a.recipient[:0], a.intentRecipient[:0]
	a.attempt, a.intentAttempt = a.attempt[:0], a.intentAttempt[:0]
	a.code, a.final, a.twice = a.code[:0], a.final[:0], a.twice[:0]
	a.status, a.enhanced, a.reply, a.dropPoint = a.status[:0], a.enhanced[:0], a.reply[:0], a.dropPoint[:0]
	clear(a.asked)
}

// fill lays the group's entries out as the arrays $1 to $20 of the statement.
func (a *commitArgs) fill(group []*Ticket) []any {
	a.reset()
	for _, t := range group {
		if key := (claimKey{t.claim.Batch, t.claim.Fence}); !a.asked[key] {
			a.asked[key] = true
			a.claims.add(t.claim)
		}
		if t.result != nil {
			a.addResult(t.claim, t.result)
		}
		if t.intent != nil {
			a.addIntent(t.claim, t.intent)
		}
	}
	return []any{
		a.claims.mailing, a.claims.number, a.claims.fence, // $1 to $3
		a.results.mailing, a.results.number, a.results.fence, // $4 to $6
		a.recipient, a.attempt, a.status, a.final, a.code, a.enhanced, a.reply, // $7 to $13
		a.intents.mailing, a.intents.number, a.intents.fence, // $14 to $16
		a.intentRecipient, a.intentAttempt, a.twice, a.dropPoint, // $17 to $20
	}
}

func (a *commitArgs) addResult(claim *Claim, r *Result) {
	a.results.add(claim)
	a.recipient = append(a.recipient, r.Recipient)
	a.attempt = append(a.attempt, r.Attempt)
	a.status = append(a.status, string(r.Status))
	a.final = append(a.final, r.Final)
	a.code = append(a.code, r.Code)
	a.enhanced = append(a.enhanced, r.Enhanced)
	a.reply = append(a.reply, storable(r.Reply))
}

func (a *commitArgs) addIntent(claim *Claim, i *Attempt) {
	a.intents.add(claim)
	a.intentRecipient = append(a.intentRecipient, i.Recipient)
	a.intentAttempt = append(a.intentAttempt, i.Number)
	a.twice = append(a.twice, i.PossiblyTwice)
	a.dropPoint = append(a.dropPoint, i.DropPoint)
}

// storable returns a server's text as PostgreSQL takes it.
func storable(reply string) string {
	return strings.ToValidUTF8(strings.ReplaceAll(reply, "\x00", ""), "?")
}
