package rig

import (
	"fmt"
	"io"

	"directmailer/internal/audience/address"
	"directmailer/internal/audience/lists"
	"directmailer/internal/audience/member"
)

// Members is a list of N members, r1@example.org to rN@example.org, with the attribute name.
type Members struct {
	N    int
	Name func(n int) string // the attribute of the member n; nil: "Nr 7"
	last int
}

// Next returns the next member, or io.EOF.
func (m *Members) Next() (member.Member, error) {
	if m.last++; m.last > m.N {
		return member.Member{}, io.EOF
	}
	a, err := address.Parse(Address(m.last))
	name := fmt.Sprintf("Nr %d", m.last)
	if m.Name != nil {
		name = m.Name(m.last)
	}
	return member.Member{Position: int64(m.last), Address: a, Attributes: fmt.Appendf(nil, `{"name":%q}`, name)}, err
}

// Rejected returns how many rows were unusable.
func (m *Members) Rejected() int64 { return 0 }

// Address returns the address of the member n.
func Address(n int) string { return fmt.Sprintf("r%d@example.org", n) }

// ImportList stores Members{N: n} as the list "people".
func (r *Rig) ImportList(n int) {
	r.Helper()
	if _, err := lists.New(r.Pool).Import(r.Context(), "people", "people.csv", []string{"name"}, &Members{N: n},
		true); err != nil {
		r.Fatal(err)
	}
}
