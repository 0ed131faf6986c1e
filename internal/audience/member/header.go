package member

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"directmailer/internal/audience/field"
)

// addressColumns are the fields that are taken for the e-mail address. If a table has several, the
// first of this order is taken.
var addressColumns = []string{
	"email", "e_mail", "email_address", "e_mail_address", "emailaddress", "mail", "mail_address", "rcp_email",
	"e_mail_adresse", "email_adresse", "mailadresse", "adresse_e_mail", "adresse_email", "courriel",
	"correo_electrónico", "correo_electronico", "correo", "indirizzo_e_mail", "indirizzo_email", "e_mailadres",
	"emailadres", "e_post", "epost", "endereço_de_e_mail", "adres_e_mail", "e_mail_1_value", "メールアドレス",
	"电子邮件", "электронная_почта",
	// Outlook and others in further languages
	"adresse_de_messagerie", "dirección_de_correo_electrónico", "dirección_de_correo", "indirizzo_posta_elettronica",
	"indirizzo_di_posta_elettronica", "endereço_de_email", "endereço_de_correio_eletrónico", "e_postadress",
	"e_postadresse", "e_mail_cím", "sähköposti", "sähköpostiosoite", "e_mailová_adresa", "e_posta", "e_posta_adresi",
	"адрес_электронной_почты", "эл_почта", "이메일", "이메일_주소", "邮箱", "电子邮箱", "電子郵件", "電子信箱",
	"address", // of a report of ours; elsewhere it may be a street
}

// Column is what becomes of a column of a table.
type Column struct {
	Number  int    `json:"column"` // from 1
	Header  string `json:"header"` // as the table has it
	Field   string `json:"field"`  // as templates know it; empty: the column is left out
	Address bool   `json:"address,omitempty"`
	// Same is the number of an earlier column whose name becomes the same field, or 0. The field of
	// this column has a number behind its name.
	Same int `json:"same_as,omitempty"`
}

// Header is the columns of a table of people.
type Header struct {
	columns []Column
	fields  []templateField // all but the address
	address int             // the column that holds the address
}

// templateField is a column that templates see.
type templateField struct {
	column int
	key    string // its name as JSON, with what stands before and behind: `,"name":`
}

// ReadHeader makes a Header of the names of columns. One of them must be an address column. A
// column whose name has neither a letter nor a digit is left out. Error texts continue a sentence
// ("has no column …").
func ReadHeader(cells []string) (Header, error) {
	if i := addressIn(cells); i >= 0 {
		return Header{}, fmt.Errorf(
			"holds an @ in column %d: the first line must name the columns, one of them email", i+1)
	}
	h := Header{columns: nameColumns(cells), address: -1}
	for _, name := range addressColumns {
		for i, c := range h.columns {
			if c.Field == name && h.address < 0 {
				h.address = i
			}
		}
	}
	if h.address < 0 {
		return Header{}, fmt.Errorf("has no column for the e-mail address: name it email; the columns are %s",
			joined(h.columns))
	}
	h.columns[h.address].Address = true
	for i, c := range h.columns {
		if c.Same == h.address+1 {
			return Header{}, fmt.Errorf("columns %d and %d are both named %s: rename the one that is not mailed",
				c.Same, c.Number, h.columns[h.address].Field)
		}
		if c.Field != "" && i != h.address {
			key := field.AppendJSON([]byte{','}, field.Value{Text: c.Field})
			h.fields = append(h.fields, templateField{i, string(append(key, ':'))})
		}
	}
	return h, nil
}

// addressIn returns the first cell that may be an address, or -1.
func addressIn(cells []string) int {
	for i, cell := range cells {
		before, after, found := strings.Cut(cell, "@")
		last, _ := utf8.DecodeLastRuneInString(before)
		first, _ := utf8.DecodeRuneInString(after)
		if found && before != "" && after != "" && !unicode.IsSpace(last) && !unicode.IsSpace(first) {
			return i
		}
	}
	return -1
}

// nameColumns names the fields of the columns. A name that an earlier column has gets a number.
func nameColumns(cells []string) []Column {
	columns := make([]Column, len(cells))
	byField := map[string]int{} // the number of the first column with that name
	for i, cell := range cells {
		c := Column{Number: i + 1, Header: cell, Field: FieldName(cell)}
		if first, there := byField[c.Field]; there {
			c.Same = first
		} else if c.Field != "" {
			byField[c.Field] = c.Number
		}
		columns[i] = c
	}
	for i := range columns {
		c := &columns[i]
		for n := 2; c.Same > 0; n++ {
			name := fmt.Sprintf("%s_%d", c.Field, n)
			if _, there := byField[name]; !there {
				byField[name], c.Field = c.Number, name
				break
			}
		}
	}
	return columns
}

// Mapping returns what becomes of each column of the table.
func (h *Header) Mapping() []Column { return append([]Column{}, h.columns...) }

// Width returns the number of columns of the table.
func (h *Header) Width() int { return len(h.columns) }

// Uses reports whether a column behind the first n holds the address or a field.
func (h *Header) Uses(n int) bool {
	return slices.ContainsFunc(h.columns[n:], func(c Column) bool { return c.Field != "" })
}

// Misfit returns the reason why a row with n cells cannot be used.
func (h *Header) Misfit(n int) string {
	return fmt.Sprintf("has %s, but the header names %s", count(n, "field"), count(len(h.columns), "column"))
}

// Columns returns the names of the fields that templates see: all but the address.
func (h *Header) Columns() []string { return Fields(h.columns) }

// Fields returns the names of the fields that templates see: all but the address.
func Fields(mapping []Column) []string {
	names := []string{}
	for _, c := range mapping {
		if c.Field != "" && !c.Address {
			names = append(names, c.Field)
		}
	}
	return names
}

// joined joins up to 20 names.
func joined(columns []Column) string {
	const most = 20
	var names []string
	for _, c := range columns {
		if c.Field != "" {
			names = append(names, c.Field)
		}
	}
	if len(names) > most {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
	}
	return strings.Join(names, ", ")
}
