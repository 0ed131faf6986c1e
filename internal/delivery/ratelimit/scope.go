package ratelimit

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"directmailer/internal/audience/address"
	"directmailer/internal/naming"
)

// Kind says what a limit is for.
type Kind uint8

// The kinds of limits.
const (
	Mailing   Kind = iota + 1 // all messages of one mailing
	DropPoint                 // all messages to one drop point
	Domain                    // all messages to recipients in one domain
)

var kinds = [...]string{Mailing: "mailing", DropPoint: "drop_point", Domain: "domain"}

// String is "mailing", "drop_point" or "domain".
func (k Kind) String() string {
	if k < Mailing || k > Domain {
		return "unknown"
	}
	return kinds[k]
}

func kindOf(s string) Kind { return Kind(max(0, slices.Index(kinds[:], s))) }

// Scope is what one limit is for. Scopes compare with ==.
type Scope struct {
	Kind Kind
	Name string // a mailing's key in decimal, a drop point's name, a domain in A-labels and lower case
}

// OfMailing is the scope of the mailing with the internal key.
func OfMailing(key int64) Scope { return Scope{Mailing, strconv.FormatInt(key, 10)} }

// OfDropPoint is the scope of the drop point with the name.
func OfDropPoint(name string) Scope { return Scope{DropPoint, name} }

// OfDomain is the scope of a recipient domain, as address.Address has it.
func OfDomain(name string) Scope { return Scope{Domain, name} }

// ParseScope reads what people write: a name with a dot is a domain, in any script and case; one
// without is a drop point.
func ParseScope(s string) (Scope, error) {
	if !strings.Contains(s, ".") {
		scope := OfDropPoint(s)
		return scope, scope.check()
	}
	a, err := address.Parse("x@" + s)
	if err != nil || strings.Contains(s, "@") {
		return Scope{}, errors.New("is neither a domain nor the name of a drop point")
	}
	return OfDomain(a.Domain()), nil
}

func (s Scope) check() error {
	switch s.Kind {
	case Mailing:
		if key, err := strconv.ParseInt(s.Name, 10, 64); err != nil || OfMailing(key) != s {
			return errors.New("is not the key of a mailing")
		}
	case DropPoint:
		if !naming.Valid(s.Name) {
			return errors.New("is not the name of a drop point: it must be " + naming.Rule)
		}
	case Domain:
		if a, err := address.Parse("x@" + s.Name); err != nil || a.Domain() != s.Name {
			return errors.New("is not a domain in A-labels and lower case")
		}
	default:
		return errors.New("has no kind")
	}
	return nil
}
