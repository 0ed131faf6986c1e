package ratelimit

import (
	"errors"
	"slices"
	"strings"

	"directmailer/internal/audience/address"
	"directmailer/internal/naming"
)

// Kind says what a limit is for.
type Kind uint8

// The kinds of limits.
const (
	Mailing   Kind = iota + 1 // messages of one mailing
	DropPoint                 // messages to one drop point
	Domain                    // messages to recipients in one domain
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
	Kind    Kind
	Name    string // a drop point's name, a domain in A-labels and lower case; empty for a mailing
	Mailing int64  // the internal key of the only mailing that the limit is for; 0: all mailings together
}

// OfMailing is the scope of the mailing with the internal key.
func OfMailing(key int64) Scope { return Scope{Kind: Mailing, Mailing: key} }

// OfDropPoint is the scope of the drop point with the name.
func OfDropPoint(name string) Scope { return Scope{Kind: DropPoint, Name: name} }

// OfDomain is the scope of a recipient domain, as address.Address has it.
func OfDomain(name string) Scope { return Scope{Kind: Domain, Name: name} }

// In is the scope's part in the mailing with the internal key.
func (s Scope) In(mailing int64) Scope {
	s.Mailing = mailing
	return s
}

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
		if s.Name != "" || s.Mailing == 0 {
			return errors.New("is not the scope of a mailing")
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
