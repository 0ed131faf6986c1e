// Package optouts keeps who must not be mailed. It is the only writer of the tables opt_outs,
// suppressions and bounce_findings.
//
// There are two kinds. A request ([Request]) comes from a person or an operator. Only a person or
// an operator takes it back: no function that a machine calls removes one. A suppression is a
// machine's finding: mail to the address bounced. A suppression can expire, and machines may lift
// it. The view exclusions has both. The statements that leave recipients out of a mailing (packages
// recipients and ledger) read this view.
//
// The functions that take a transaction are one step of their caller's. Methods of [Store] use a
// transaction of their own.
package optouts

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"directmailer/internal/audience/address"
	"directmailer/internal/database"
	"directmailer/internal/naming"
)

//go:embed sql/*.sql
var files embed.FS

var statement = database.Statements(files)

// Reason says who made a request, and how.
type Reason string

const (
	// Asked is a person who asked not to be mailed, by a link or otherwise.
	Asked Reason = "asked"
	// Complaint is a person who reported a message as spam.
	Complaint Reason = "complaint"
	// Operator is a decision of an operator.
	Operator Reason = "operator"
	// Imported is a request that another system knew.
	Imported Reason = "imported"
)

// Reasons are all reasons, the strongest first.
var Reasons = []Reason{Asked, Complaint, Operator, Imported}

// ParseReason reads a reason. The error continues a sentence.
func ParseReason(s string) (Reason, error) {
	for _, r := range Reasons {
		if s == string(r) {
			return r, nil
		}
	}
	return "", fmt.Errorf("is %q, and must be asked, complaint, operator or imported", s)
}

// Scope is the mail that a request is about: all mail, a list or a topic.
type Scope string

// All is the scope of a request about all mail.
const All Scope = "all"

// List is the scope of mail to the list.
func List(name string) Scope { return Scope("list:" + name) }

// Topic is the scope of mail about the topic.
func Topic(name string) Scope { return Scope("topic:" + name) }

// ParseScope reads all, list:NAME or topic:NAME. The error continues a sentence.
func ParseScope(s string) (Scope, error) {
	kind, name, named := strings.Cut(s, ":")
	switch {
	case s == string(All):
		return All, nil
	case !named || kind != "list" && kind != "topic":
		return "", fmt.Errorf("is %q, and must be all, list:NAME or topic:NAME", s)
	case !naming.Valid(name):
		return "", fmt.Errorf("is %q, and its name must be %s", s, naming.Rule)
	}
	return Scope(s), nil
}

// Key returns what a request is compared by: the key of an address, or for "@example.com" the
// domain in A-labels and lower case behind an @. The error continues a sentence and does not quote
// the text.
func Key(text string) (string, error) {
	text = strings.TrimSpace(text)
	if address.Guarded(text) && text[1] == '@' { // as a report writes it for a spreadsheet
		text = text[1:]
	}
	if domain, whole := strings.CutPrefix(text, "@"); whole {
		a, err := address.Parse("anybody@" + domain)
		if err != nil {
			return "", fmt.Errorf("is a whole domain and %w", err)
		}
		return "@" + a.Domain(), nil
	}
	a, err := address.Read(text)
	if err != nil {
		return "", err
	}
	return a.Key(), nil
}

// Request is one request not to be mailed.
type Request struct {
	Key     string    // of an address, or of a whole domain: see [Key]
	Scope   Scope     // "" is All
	Reason  Reason    // "" is Asked
	Mailing string    // ID of the mailing that it came from, or ""
	At      time.Time // zero: now
}

// Add adds requests and returns how many were new. A request with the same key, scope and reason as
// an earlier one changes nothing: the earlier one keeps its time and its mailing.
func Add(ctx context.Context, tx pgx.Tx, requests []Request) (n int64, err error) {
	rows := make([]requestRow, len(requests))
	for i, r := range requests {
		rows[i] = rowOf(r)
	}
	return change(ctx, tx, "add opt-outs", addRequests, rows)
}

// Remove takes back, for a person or an operator, the requests that are like one of those given: in
// a Request, an empty Scope, Reason or Mailing stands for any. It returns how many there were.
// Suppressions stay: see [Lift].
func Remove(ctx context.Context, tx pgx.Tx, like []Request) (n int64, err error) {
	rows := make([]requestRow, len(like))
	for i, r := range like {
		if r.Key == "" { // would stand for everybody
			return 0, errors.New("remove opt-outs: a request without a key")
		}
		rows[i] = requestRow{r.Key, string(r.Scope), string(r.Reason), r.Mailing, nil}
	}
	return change(ctx, tx, "remove opt-outs", removeRequests, rows)
}

var (
	addRequests    = statement("add")
	removeRequests = statement("remove")
)

// requestRow is a request as the statements take it.
type requestRow struct {
	Key     string     `json:"key"`
	Scope   string     `json:"scope"`
	Reason  string     `json:"reason"`
	Mailing string     `json:"mailing"`
	At      *time.Time `json:"at"`
}

func rowOf(r Request) requestRow {
	row := requestRow{r.Key, string(r.Scope), string(r.Reason), r.Mailing, nil}
	if row.Scope == "" {
		row.Scope = string(All)
	}
	if row.Reason == "" {
		row.Reason = string(Asked)
	}
	if !r.At.IsZero() {
		row.At = &r.At
	}
	return row
}

// change runs a statement that takes rows as JSON.
func change[T any](ctx context.Context, tx pgx.Tx, what, sql string, rows []T) (int64, error) {
	if len(rows) == 0 {
		return 0, nil
	}
	text, err := database.JSON(rows)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", what, err)
	}
	tag, err := tx.Exec(ctx, sql, pgx.NamedArgs{"rows": text})
	if err != nil {
		return 0, fmt.Errorf("%s: %w", what, err)
	}
	return tag.RowsAffected(), nil
}

// Respected returns the scopes of the requests that a mailing respects. list is the list that its
// recipients come from, topic is its topic, and both may be empty. ignore names kinds of scopes
// that it ignores: all, list, topic.
func Respected(list, topic string, ignore []string) []Scope {
	var scopes []Scope
	for _, s := range []struct {
		kind  string
		given bool
		scope Scope
	}{{"all", true, All}, {"list", list != "", List(list)}, {"topic", topic != "", Topic(topic)}} {
		if s.given && !slices.Contains(ignore, s.kind) {
			scopes = append(scopes, s.scope)
		}
	}
	return scopes
}
