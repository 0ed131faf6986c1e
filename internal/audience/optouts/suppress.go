package optouts

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// Class says how final a bounce is.
type Class string

const (
	// Hard is a bounce because the address does not exist.
	Hard Class = "hard"
	// Soft is a bounce that can pass: a full mailbox, for example.
	Soft Class = "soft"
)

// Soft bounces suppress an address when SoftLimit mailings in SoftWindow bounced. The suppression
// ends SoftExpiry after the last of them.
const (
	SoftLimit  = 5
	SoftWindow = 60 * 24 * time.Hour
	SoftExpiry = 60 * 24 * time.Hour
)

// A server that says of more than MaxBadShare of its recipients that they do not exist is more
// likely to have a broken recipient map: nobody is suppressed on its word. Among fewer than
// minAnswered recipients the share says nothing.
const (
	MaxBadShare = 0.05
	minAnswered = 100
)

// Trusted tells whether addresses are suppressed on the word of a server that has answered for so
// many recipients, and said of so many that they are bad.
func Trusted(bad, answered int64) bool {
	return answered < minAnswered || float64(bad) <= MaxBadShare*float64(answered)
}

// Finding is a machine's finding about one address.
type Finding struct {
	Key     string    // of an address
	Class   Class     // "" is Hard
	Code    string    // enhanced status code (RFC 3463), or ""
	Mailing string    // ID of the mailing that bounced, or ""
	At      time.Time // zero: now
}

// SuppressAnswered suppresses addresses that do not exist by the answers of drop points, which the
// caller has found to be [Trusted]. It returns how many are suppressed now and were not before.
func SuppressAnswered(ctx context.Context, tx pgx.Tx, findings []Finding) (n int64, err error) {
	return suppressHard(ctx, tx, findings, answer)
}

// Suppress notes what bounce messages said, and returns how many addresses are suppressed now and
// were not before. A hard bounce suppresses at once, for good. Soft bounces suppress by
// [SoftLimit]. The caller sees to it that it notes each bounce message once.
//
// While the bounces of a mailing are more than [Trusted] allows, they suppress nobody, and lift
// what they suppressed before.
func Suppress(ctx context.Context, tx pgx.Tx, findings []Finding) (n int64, err error) {
	if _, err := change(ctx, tx, "note bounces", noteFindings, rowsOf(findings, report)); err != nil {
		return 0, err
	}
	shares, counted := shares{}, "" // counted: whose soft bounces are counted, all at once
	var hard []Finding
	for _, f := range sorted(findings) {
		trusted, err := shares.trusted(ctx, tx, f.Mailing, f.Class)
		switch {
		case err != nil:
			return n, err
		case !trusted, f.Class == Soft && f.Key == counted:
		case f.Class == Soft:
			counted = f.Key
			suppressed, err := suppressSoft(ctx, tx, shares, f)
			if err != nil {
				return n, err
			}
			n += suppressed
		default:
			hard = append(hard, f)
		}
	}
	suppressed, err := suppressHard(ctx, tx, hard, report)
	return n + suppressed, err
}

// Lift ends the suppressions of the addresses, whatever their evidence, and returns how many there
// were. Requests stay.
func Lift(ctx context.Context, tx pgx.Tx, keys []string) (n int64, err error) {
	tag, err := tx.Exec(ctx, `DELETE FROM suppressions WHERE address_key = ANY($1)`, keys)
	if err == nil {
		_, err = tx.Exec(ctx, `DELETE FROM bounce_findings WHERE address_key = ANY($1)`, keys)
	}
	if err != nil {
		return 0, fmt.Errorf("remove suppressions: %w", err)
	}
	return tag.RowsAffected(), nil
}

var (
	noteFindings   = statement("find")
	noteAgain      = statement("note_again")
	forgetFindings = statement("forget")
	suppress       = statement("suppress")
	softBounces    = statement("soft")
	addSoft        = statement("suppress_soft")
	readShare      = statement("share")
)

// findingRow is a finding as the statements take it.
type findingRow struct {
	Key     string     `json:"key"`
	Class   Class      `json:"class"`
	Code    string     `json:"code"`
	Mailing string     `json:"mailing"`
	At      *time.Time `json:"at"`
	Origin  string     `json:"origin"`
}

// Origins of a finding.
const (
	answer = "answer" // of a drop point
	report = "report" // a bounce message
)

func rowsOf(findings []Finding, origin string) []findingRow {
	rows := make([]findingRow, len(findings))
	for i, f := range findings {
		rows[i] = findingRow{f.Key, cmp.Or(f.Class, Hard), f.Code, f.Mailing, nil, origin}
		if !f.At.IsZero() {
			rows[i].At = &f.At
		}
	}
	return rows
}

// sorted returns the findings in the order of their addresses, in which every transaction locks
// their rows.
func sorted(findings []Finding) []Finding {
	return slices.SortedStableFunc(slices.Values(findings), func(a, b Finding) int { return cmp.Compare(a.Key, b.Key) })
}

func suppressHard(ctx context.Context, tx pgx.Tx, findings []Finding, origin string) (n int64, err error) {
	if len(findings) == 0 {
		return 0, nil
	}
	rows := rowsOf(findings, origin)
	if _, err := change(ctx, tx, "suppress addresses", noteAgain, rows); err != nil {
		return 0, err
	}
	return change(ctx, tx, "suppress addresses", suppress, rows)
}

// suppressSoft suppresses the address of f if enough mailings to it bounced.
func suppressSoft(ctx context.Context, tx pgx.Tx, s shares, f Finding) (n int64, err error) {
	at := f.At
	if at.IsZero() {
		at = time.Now()
	}
	rows, err := tx.Query(ctx, softBounces, pgx.NamedArgs{"key": f.Key, "since": at.Add(-SoftWindow)})
	if err != nil {
		return 0, fmt.Errorf("read soft bounces: %w", err)
	}
	type bounce struct {
		Mailing string
		At      time.Time
	}
	bounces, err := pgx.CollectRows(rows, pgx.RowToStructByPos[bounce])
	if err != nil {
		return 0, fmt.Errorf("read soft bounces: %w", err)
	}
	if len(bounces) < SoftLimit { // what follows is seldom
		return 0, nil
	}
	var counted []bounce
	for _, b := range bounces {
		if trusted, err := s.trusted(ctx, tx, b.Mailing, Soft); err != nil {
			return 0, err
		} else if trusted {
			counted = append(counted, b)
		}
	}
	// Reports can arrive in any order, for example from a file. So the bounces may be from a longer
	// time than the window. What counts is the last window that has enough of them.
	for len(counted) >= SoftLimit && counted[len(counted)-1].At.Sub(counted[len(counted)-SoftLimit].At) >= SoftWindow {
		counted = counted[:len(counted)-1]
	}
	if len(counted) < SoftLimit {
		return 0, nil
	}
	last := counted[len(counted)-1].At
	for last.Sub(counted[0].At) >= SoftWindow {
		counted = counted[1:]
	}
	err = tx.QueryRow(ctx, addSoft, pgx.NamedArgs{
		"key": f.Key, "code": f.Code, "mailing": f.Mailing, "count": len(counted),
		"first": counted[0].At, "last": last, "expires": last.Add(SoftExpiry),
	}).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("suppress an address: %w", err)
	}
	return n, nil
}

// shares remembers, within one call, which mailings' bounces are trusted.
type shares map[share]bool

type share struct {
	mailing string
	class   Class
}

// trusted tells whether the bounces of the mailing suppress addresses. If not, it lifts what they
// have suppressed.
func (s shares) trusted(ctx context.Context, tx pgx.Tx, mailing string, class Class) (trusted bool, err error) {
	key := share{mailing, cmp.Or(class, Hard)}
	if trusted, known := s[key]; known || mailing == "" {
		return trusted || mailing == "", nil
	}
	var bad, sent int64
	err = tx.QueryRow(ctx, readShare, pgx.NamedArgs{"mailing": mailing, "class": string(key.class)}).Scan(&bad, &sent)
	if err != nil {
		return false, fmt.Errorf("count the bounces of the mailing: %w", err)
	}
	if trusted = Trusted(bad, sent); !trusted {
		_, err = tx.Exec(ctx, `DELETE FROM suppressions WHERE mailing = $1 AND class = $2 AND origin = 'report'`,
			mailing, string(key.class))
		if err != nil {
			return false, fmt.Errorf("lift the suppressions of the mailing: %w", err)
		}
	}
	s[key] = trusted
	return trusted, nil
}
